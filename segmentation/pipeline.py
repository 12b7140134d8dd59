"""One tracked training from start to end: data, network, run, registered model."""

import dataclasses
from collections.abc import Sequence

import torch

from segmentation.batches import Batches, Decoded, Progress, load_splits
from segmentation.config import Config, DataConfig
from segmentation.devices import Compute
from segmentation.evaluation import Evaluation, judge
from segmentation.pets import read_trainval
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
    # Validation first: a picture that stands in both splits is then missing in training.
    return load_splits({"val": chosen.val, "train": chosen.train}, config, progress)


def train_and_register(
    config: Config,
    compute: Compute,
    source: Source,
    data: dict[str, Decoded],
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
    train, val = data["train"], data["val"]
    tags = {
        "data.source": "synthetic" if source.drawn else str(source.root),
        "data.digest": train.digest[:36],
        "device": compute.device.type,
        "amp": compute.amp,
        "threads": str(torch.get_num_threads()),
    }
    with runs.tracked_run(_run_name(config, source), tags) as run_id:
        runs.log_setup(config.flat(), data, source.root)
        network = build_unet(config.model, config.training.seed)
        watchers = [runs.TrackingObserver(val, config.training.epochs), *observers]
        if config.training.patience:
            watchers.append(EarlyStopping(config.training.patience))
        batches = Batches(train, val, config.training)
        result = fit(network, batches, config.training, compute, watchers)
        segmenter = Segmenter(network, config.data.image_size).eval()
        evaluation = _judge_and_log(segmenter, val, config, compute)
        runs.log_curves(result, evaluation.counts.all_pet().mean().dice)
        story = descriptions.Story(
            config=config,
            data=descriptions.DRAWN_DATA if source.drawn else descriptions.REAL_DATA,
            amp=compute.amp,
            sizes={name: len(part) for name, part in data.items()},
            result=result,
            evaluation=evaluation,
        )
        runs.describe(story.run())
        name = model_name or ("pet-unet-synthetic" if source.drawn else "pet-unet")
        registered = _log_and_register(segmenter, name, story, run_id, data, source)
    return Outcome(
        run_id=run_id, result=result, evaluation=evaluation, story=story, registered=registered
    )


def _judge_and_log(
    segmenter: Segmenter, val: Decoded, config: Config, compute: Compute
) -> Evaluation:
    """Score the wrapped model at each photo's own size; log the table and the worst ones."""
    gallery = runs.Gallery()
    judged = judge(segmenter, val.examples, config.data.border, compute.device)
    evaluation = Evaluation.of(val.name, map(gallery.add, judged))
    gallery.log(evaluation)
    return evaluation


def _log_and_register(
    segmenter: Segmenter,
    name: str,
    story: descriptions.Story,
    run_id: str,
    data: dict[str, Decoded],
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
    registered = models.register(
        model_id,
        name,
        story.version(run_id),
        {
            "dice": f"{evaluation.counts.mean().dice:.4f}",
            "data.digest": data["train"].digest[:36],
            "run": run_id,
        },
        above_floors=evaluation.above_floors(),
    )
    models.introduce(name, descriptions.model(name, story.data))
    return registered


def _run_name(config: Config, source: Source) -> str:
    """Say in a few words what the run was."""
    data = "synthetic" if source.drawn else "pets"
    return (
        f"{data}-{config.data.train_images} w{config.model.width} d{config.model.depth} "
        f"{config.data.image_size}px lr{config.training.lr:g} {config.training.epochs}ep "
        f"seed{config.training.seed}"
    )
