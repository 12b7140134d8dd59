"""One tracked training from start to end: data, network, run, registered model."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from segmentation.batches import Batches
from segmentation.config import Config, DataConfig
from segmentation.decoding import Decoded, load_splits
from segmentation.devices import Compute
from segmentation.evaluation import Evaluation, judge
from segmentation.parallel import Progress
from segmentation.pets import read_list, read_trainval
from segmentation.reports import EarlyStopping, FitResult, Observer
from segmentation.sources import Source
from segmentation.splits import split
from segmentation.tracking import descriptions, models, runs
from segmentation.training import fit
from segmentation.unet import Segmenter, build_unet


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished, tracked, registered training.

    Attributes:
        run_id: MLflow's.
        result: how training went.
        evaluation: the registered model on the validation images, at their own size.
        story: the same in words.
        registered: the version in the registry.
    """

    run_id: str
    result: FitResult
    evaluation: Evaluation
    story: descriptions.Story
    registered: models.Registered


def load_data(config: DataConfig, source: Source, progress: Progress) -> dict[str, Decoded]:
    """Choose, verify and decode the train and val splits.

    Raises:
        ConfigError: more images are asked for than there are.
        DataError: lists or files cannot be used.
    """
    chosen = split(read_trainval(source.root), config)
    apart = {"gate": chosen.gate}
    if (source.root / "annotations" / "test.txt").exists():
        apart["test"] = tuple(read_list(source.root, "test"))
    # Validation first: a picture that stands in both splits is then missing in training.
    return load_splits({"val": chosen.val, "train": chosen.train}, apart, config, progress)


def train_and_register(
    config: Config,
    compute: Compute,
    source: Source,
    data: Mapping[str, Decoded],
    observers: Sequence[Observer],
    model_name: str = "",
) -> Outcome:
    """Train in an MLflow run of its own, judge the result, log and register it.

    Args:
        config: all settings.
        compute: the device and its arithmetic.
        source: where the data is from.
        data: the splits `train` and `val`.
        observers: told of each epoch besides the tracker.
        model_name: of the registered model; empty for the usual one.

    Raises:
        TrainingError: the loss is not finite; the run is FAILED, nothing is registered.
        TrackingError: the exported model does not answer as the trained one.
    """
    model_name = model_name or ("pet-unet-synthetic" if source.drawn else "pet-unet")
    val, training = data["val"], config.training
    with runs.tracked_run(_run_name(config, source), _tags(source, data, compute)) as run_id:
        runs.log_setup(_resolved(config, compute, source, data, model_name), data, source.root)
        network = build_unet(config.model, training.seed)
        watchers = [runs.TrackingObserver(val, training.epochs), *observers]
        if training.patience:
            watchers.append(EarlyStopping(training.patience))
        batches = Batches(data["train"], val, training)
        result = fit(network, batches, training, compute, watchers)
        segmenter = Segmenter(network, config.data.image_size).eval()
        gallery = runs.Gallery()
        files = zip(val.examples, val.files, strict=True)
        judged = judge(segmenter, files, config.data.border, compute.device)
        evaluation = Evaluation.of(val.name, map(gallery.add, judged))
        story = descriptions.Story(
            config=config,
            data=source.described,
            amp=compute.amp,
            sizes={name: len(part) for name, part in data.items()},
            result=result,
            evaluation=evaluation,
        )
        runs.describe(story.run())
        # The model first: should a picture fail, what took minutes to train is safe.
        registered = _log_and_register(segmenter, model_name, story, run_id, data, source)
        gallery.log(evaluation)
        runs.log_curves(result, evaluation.counts.all_pet().mean().dice)
    return Outcome(
        run_id=run_id, result=result, evaluation=evaluation, story=story, registered=registered
    )


def _log_and_register(
    segmenter: Segmenter,
    name: str,
    story: descriptions.Story,
    run_id: str,
    data: Mapping[str, Decoded],
    source: Source,
) -> models.Registered:
    """Log the model with its figures, register it, describe it."""
    best_epoch, evaluation = story.result.best_epoch, story.evaluation
    model_id = models.log_model(
        segmenter,
        runs.final_metrics(evaluation, best_epoch),
        runs.dataset(data["val"], source.root),
        best_epoch,
    )
    tags = {
        "dice": f"{evaluation.counts.mean().dice:.4f}",
        "data.digest": data["train"].digest[:36],
        "run": run_id,
    }
    registered = models.register(
        model_id, name, story.version(run_id), tags, above_floors=evaluation.above_floors()
    )
    models.introduce(name, descriptions.model(name, story.data))
    return registered


def _resolved(
    config: Config, compute: Compute, source: Source, data: Mapping[str, Decoded], model_name: str
) -> dict[str, Any]:
    """Return every setting as it was used, `auto` and `all` replaced by what they came to."""
    counts = {
        f"data.{name}_images": len(part.examples) + len(part.problems)
        for name, part in data.items()
    }
    return (
        config.flat()
        | counts
        | {
            "data.source": source.name,
            "training.device": compute.device.type,
            "training.precision": compute.precision,
            "model.name": model_name,
        }
    )


def _tags(source: Source, data: Mapping[str, Decoded], compute: Compute) -> dict[str, str]:
    """Return what describes a run besides its settings."""
    return {
        "data.source": source.name,
        "data.digest": data["train"].digest[:36],
        "device": compute.device.type,
        "amp": compute.amp,
        "threads": str(torch.get_num_threads()),
    }


def _run_name(config: Config, source: Source) -> str:
    """Say in a few words what the run was."""
    data = "synthetic" if source.drawn else "pets"
    return (
        f"{data}-{config.data.train_images} w{config.model.width} d{config.model.depth} "
        f"{config.data.image_size}px lr{config.training.lr:g} {config.training.epochs}ep "
        f"seed{config.training.seed}"
    )
