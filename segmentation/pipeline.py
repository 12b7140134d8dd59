"""One tracked training from start to end: data, network, run, registered model."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from segmentation.batches import Batches
from segmentation.budget import Budget
from segmentation.config import Config, DataConfig
from segmentation.decision import Decision
from segmentation.decoded import Decoded
from segmentation.decoding import load_splits
from segmentation.devices import Compute
from segmentation.errors import ConfigError
from segmentation.evaluation import Evaluation, evaluate
from segmentation.inference import Batched
from segmentation.parallel import Progress
from segmentation.pets import has_test_list, read_list, read_trainval
from segmentation.promotion import Arena, promote
from segmentation.rehearsal import within
from segmentation.reports import EarlyStopping, FitResult, Observer
from segmentation.sources import Source
from segmentation.splits import split
from segmentation.tracking import descriptions, models, packing, runs
from segmentation.tracking.galleries import Gallery
from segmentation.training import fit
from segmentation.unet import Segmenter, UNet, build_unet

Splits = Mapping[str, Decoded]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """What stays the same over many trainings of one process.

    Attributes:
        compute: the device and its arithmetic.
        source: where the data is from.
        data: the splits `train` and `val`.
        model_name: of the registered model.
        like: the id of the run that is trained again; empty for none.
    """

    compute: Compute
    source: Source
    data: Splits
    model_name: str
    like: str = ""

    @classmethod
    def of(
        cls, compute: Compute, source: Source, data: Splits, model_name: str, like: str = ""
    ) -> "Setup":
        """Put it together; an empty `model_name` stands for the usual one."""
        name = model_name or source.model_name
        return cls(compute=compute, source=source, data=data, model_name=name, like=like)

    def start(self, config: Config) -> tuple[UNet, Batches]:
        """Return a new network, and the batches to train it on."""
        network = build_unet(config.model, config.training.seed)
        return network, Batches(self.data["train"], self.data["val"], config.training)

    def tags(self) -> dict[str, str]:
        """Return what describes a run besides its settings."""
        return {
            "data.source": self.source.name,
            "data.digest": self.data["train"].digest[:36],
            "device": self.compute.device.type,
            "amp": self.compute.amp,
            "threads": str(torch.get_num_threads()),
            "torch": str(torch.__version__),
            **({"like": self.like} if self.like else {}),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished training, in a run that is still open.

    Attributes:
        segmenter: the model with the weights of its best epoch, in eval mode.
        result: how training went.
        evaluation: the model on the validation images, at their own size.
        story: the same in words.
        gallery: pictures of those images.
    """

    segmenter: Segmenter
    result: FitResult
    evaluation: Evaluation
    story: descriptions.Story
    gallery: Gallery


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished, tracked, registered training.

    Attributes:
        run_id: MLflow's.
        evaluation: the registered model on the validation images, at their own size.
        story: the same in words.
        registered: the version in the registry.
        aliases: those that it was given.
        decision: whether it became champion, and why.
    """

    run_id: str
    evaluation: Evaluation
    story: descriptions.Story
    registered: models.Registered
    aliases: tuple[str, ...]
    decision: Decision


def load_data(
    config: DataConfig, source: Source, progress: Progress, *, with_gate: bool = False
) -> dict[str, Decoded]:
    """Choose, verify and decode the train and val splits, and the gate split where it is needed.

    Raises:
        ConfigError: more images are asked for than there are, or the gate split is empty.
        DataError: lists or files cannot be used.
    """
    chosen = split(read_trainval(source.root), config)
    # Of a picture that stands in several splits the first one keeps it: training comes last.
    parts = {"val": chosen.val, "train": chosen.train}
    apart = {}
    if with_gate and not chosen.gate:
        raise ConfigError(
            "the gate split, a fifth of the trainval list, has no image on which finalists could "
            "be compared; say confirm=0, or use more data"
        )
    if with_gate:
        parts = {"gate": chosen.gate, **parts}
    else:
        apart["gate"] = chosen.gate
    if has_test_list(source.root):
        apart["test"] = tuple(read_list(source.root, "test"))
    return load_splits(parts, apart, config, progress)


def keep_within(seconds: float, config: Config, setup: Setup) -> tuple[Config, Budget]:
    """Return the configuration with as many epochs as fit into a time, and what keeps to it.

    Args:
        seconds: of training, what this takes included.
        config: all settings; its number of epochs is not used.
        setup: device and data.
    """
    training, budget = within(seconds, *setup.start(config), config.training, setup.compute)
    return dataclasses.replace(config, training=training), budget


def train_and_register(
    config: Config, setup: Setup, observers: Sequence[Observer], budget: Budget | None = None
) -> Outcome:
    """Train in an MLflow run of its own, judge the result, log and register it.

    Args:
        config: all settings.
        setup: device, data and the model's name.
        observers: told of each epoch besides the tracker.
        budget: keeps training to a time.

    Raises:
        TrainingError: the loss is not finite; the run is FAILED, nothing is registered.
        TrackingError: the exported model does not answer as the trained one.
    """
    with runs.tracked_run(run_name(config, setup), setup.tags()) as run:
        packing.rehearse()
        trained = fit_and_judge(config, setup, observers, budget=budget)
        # The model first: should a picture fail, what took minutes to train is safe.
        model_id = log_model(trained, setup)
        registered = models.register(
            model_id,
            setup.model_name,
            trained.story.version(run.id),
            version_tags(trained, setup, run.id),
        )
        models.challenge(registered)
        models.introduce(setup.model_name, descriptions.model(setup.model_name, trained.story.data))
        log_pictures(trained)
        arena = Arena(setup.source, config.data.border)
        decision = promote(registered, arena, Batched(trained.segmenter, torch.device("cpu")))
    return Outcome(
        run_id=run.id,
        evaluation=trained.evaluation,
        story=trained.story,
        registered=registered,
        aliases=models.known_of(registered.name, registered.version).aliases,
        decision=decision,
    )


def fit_and_judge(
    config: Config,
    setup: Setup,
    observers: Sequence[Observer],
    *,
    thumbnails: bool = True,
    budget: Budget | None = None,
) -> Trained:
    """Train in the current run, tracked epoch by epoch, and score the result.

    Args:
        config: all settings.
        setup: device, data and the model's name.
        observers: told of each epoch besides the tracker.
        thumbnails: whether the table of images is to have pictures.
        budget: keeps training to a time.

    Raises:
        TrainingError: the loss is not finite.
    """
    data, training = setup.data, config.training
    val = data["val"]
    runs.log_setup(_resolved(config, setup), data, setup.source.root)
    network, batches = setup.start(config)
    tracker = runs.TrackingObserver(val, training.epochs)
    watchers = [tracker, *observers]
    if training.patience:
        watchers.append(EarlyStopping(training.patience))
    try:
        result = fit(network, batches, training, setup.compute, watchers, budget)
    finally:
        tracker.flush()
    if budget is not None:
        runs.tag("budget", str(budget))
        ran = dataclasses.replace(training, epochs=result.epochs)
        runs.rename(run_name(dataclasses.replace(config, training=ran), setup))
    segmenter = Segmenter(network, config.data.image_size).eval()
    gallery = Gallery(thumbnails=thumbnails)
    model = Batched(segmenter, setup.compute.device)
    evaluation, _ = evaluate(
        val.name, model, val.examples, config.data.border, gallery, val.files.__getitem__
    )
    story = descriptions.Story(
        config=config,
        data=setup.source.described,
        amp=setup.compute.amp,
        sizes={name: len(part) for name, part in data.items()},
        result=result,
        evaluation=evaluation,
    )
    runs.describe(story.run())
    return Trained(
        segmenter=segmenter, result=result, evaluation=evaluation, story=story, gallery=gallery
    )


def log_model(trained: Trained, setup: Setup) -> str:
    """Log the model with its figures into the current run; return its model id."""
    best_epoch = trained.result.best_epoch
    return models.log_model(
        trained.segmenter,
        trained.story.config.model,
        runs.final_metrics(trained.evaluation, best_epoch),
        runs.dataset(setup.data["val"], setup.source.root),
        best_epoch,
    )


def log_pictures(trained: Trained, *, with_curves: bool = True) -> None:
    """Log the pictures and the table of the validation images, and a picture of the curves."""
    trained.gallery.log(trained.evaluation, {})
    if with_curves:
        runs.log_curves(trained.result, trained.evaluation.counts.all_pet().mean().dice)


def version_tags(trained: Trained, setup: Setup, run_id: str) -> dict[str, str]:
    """Return the tags of a registered version."""
    return {
        "dice": f"{trained.evaluation.counts.mean().dice:.4f}",
        "data.digest": setup.data["train"].digest[:12],
        "run": run_id,
    }


def _resolved(config: Config, setup: Setup) -> dict[str, Any]:
    """Return every setting as it was used, `auto` and `all` replaced by what they came to."""
    counts = {
        f"data.{name}_images": len(part.examples) + len(part.problems)
        for name, part in setup.data.items()
    }
    return (
        config.flat()
        | counts
        | {
            "data.source": setup.source.name,
            "training.device": setup.compute.device.type,
            "training.precision": setup.compute.precision,
            "model.name": setup.model_name,
        }
    )


def run_name(config: Config, setup: Setup) -> str:
    """Say in a few words what the run was."""
    data = "synthetic" if setup.source.drawn else "pets"
    return (
        # What differs most between runs comes first: MLflow cuts long names.
        f"w{config.model.width} lr{config.training.lr:g} seed{config.training.seed} "
        f"{config.training.epochs}ep {data}-{config.data.train_images} d{config.model.depth} "
        f"{config.data.image_size}px"
    )
