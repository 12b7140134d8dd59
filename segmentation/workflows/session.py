"""One tracked training from start to end: data, network, run, registered model."""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from segmentation.config.training import Config, DataConfig
from segmentation.data.dataset import SplitDataset
from segmentation.data.loader import BatchLoader
from segmentation.data.loading import load_splits
from segmentation.data.oxford_pets import has_test_list, read_list, read_trainval
from segmentation.data.sources import Source
from segmentation.data.splits import split
from segmentation.errors import ConfigError, PeerLostError
from segmentation.evaluation.figures import curves
from segmentation.evaluation.gallery import Gallery
from segmentation.evaluation.scoring import Evaluation, evaluate
from segmentation.models.predictor import Batched
from segmentation.models.unet import Segmenter, UNet, build_unet
from segmentation.runtime.device import Compute
from segmentation.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from segmentation.runtime.signals import StopSignal
from segmentation.tracking.logging.callback import TrackingCallback
from segmentation.tracking.registry import champion, export, model_card, publish, versions
from segmentation.tracking.runs import inputs
from segmentation.tracking.runs.checkpoints import keeper_of
from segmentation.tracking.runs.resume import GROUP, SETTINGS
from segmentation.tracking.runs.run import final_metrics
from segmentation.tracking.runs.run_folder import RunFolder
from segmentation.tracking.runs.training_run import TrainingRun, drop_checkpoints, training_run
from segmentation.tracking.summaries.images import log_images
from segmentation.training.callbacks import Callback, EarlyStopping, FitResult
from segmentation.training.checkpoint import Snapshot, content_of, parse
from segmentation.training.checkpointer import load_matching
from segmentation.training.loop import fit
from segmentation.training.rehearsal import fit_to_budget
from segmentation.training.time_budget import Budget
from segmentation.utils.concurrency import Progress
from segmentation.workflows.promote import GateEvaluator, try_promote

Splits = Mapping[str, SplitDataset]

#: Settings that may be others when a training goes on: they change no figure, or are told by what
#: else is compared: files by their contents, precision by what came of it.
_MAY_DIFFER = (
    "data.source",
    "data.bad_examples",
    "training.device",
    "training.loader_workers",
    "training.precision",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSession:
    """What stays the same over many trainings of one process.

    Attributes:
        compute: the device and its arithmetic.
        source: where the data is from.
        data: the splits `train` and `val`.
        model_name: of the registered model.
        like: the id of the run that is trained again; empty for none.
        group: the processes that train together.
    """

    compute: Compute
    source: Source
    data: Splits
    model_name: str
    like: str = ""
    group: ProcessGroup = SINGLE_PROCESS

    @classmethod
    def of(
        cls,
        compute: Compute,
        source: Source,
        data: Splits,
        model_name: str,
        like: str = "",
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> "TrainingSession":
        """Put it together; an empty `model_name` stands for the usual one."""
        name = model_name or source.model_name
        return cls(
            compute=compute, source=source, data=data, model_name=name, like=like, group=group
        )

    def start(self, config: Config) -> tuple[UNet, BatchLoader]:
        """Return a new network, and the batches to train it on."""
        network = build_unet(config.model, config.training.seed)
        train, val = self.data["train"], self.data["val"]
        return network, BatchLoader(train, val, config.training, self.group.shard)

    def require_alike(self) -> None:
        """Compare what the processes of a training have.

        Raises:
            ConfigError: one has other images than the main one, or another precision.
        """
        own = {f"{name} images": part.digest for name, part in self.data.items()}
        own["precision"] = self.compute.precision
        main = self.group.broadcast(own)
        others = self.group.all_reduce(
            torch.tensor([own[name] != main[name] for name in own]).int()
        )
        differ = [name for name, number in zip(own, others, strict=True) if number]
        if differ and self.group.is_main_process:  # all others learn that it has gone
            raise ConfigError(
                f"the processes of this training have not the same {' and '.join(differ)}; give "
                "each machine the same data, and say precision=fp32 or bf16 where they are unlike"
            )
        self.group.barrier()

    def tags(self) -> dict[str, str]:
        """Return what describes a run besides its settings."""
        return {
            "data.source": self.source.name,
            "data.digest": self.data["train"].digest[:36],
            "device": self.compute.device.type,
            "amp": self.compute.amp,
            "threads": str(torch.get_num_threads()),
            "torch": str(torch.__version__),
            "processes": str(self.group.shard.size),
            **({"like": self.like} if self.like else {}),
            **({GROUP: self.group.key} if self.group.key else {}),
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
    story: model_card.TrainingSummary
    gallery: Gallery


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A finished, tracked, registered training.

    Attributes:
        run_id: MLflow's.
        evaluation: the registered model on the validation images, at their own size.
        story: the same in words.
        registered: the version in the registry.
        aliases: those that it was given.
        decision: whether it became champion, and why, in words.
    """

    run_id: str
    evaluation: Evaluation
    story: model_card.TrainingSummary
    registered: versions.VersionRef
    aliases: tuple[str, ...]
    decision: str


def load_data(
    config: DataConfig, source: Source, progress: Progress, *, with_gate: bool = False
) -> dict[str, SplitDataset]:
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


def fit_within_budget(
    seconds: float, config: Config, setup: TrainingSession
) -> tuple[Config, Budget]:
    """Return the configuration with as many epochs as fit into a time, and what keeps to it.

    Args:
        seconds: of training, what this takes included.
        config: all settings; its number of epochs is not used.
        setup: device and data.
    """
    training, budget = fit_to_budget(
        seconds, *setup.start(config), config.training, setup.compute, setup.group
    )
    return dataclasses.replace(config, training=training), budget


def train_and_register(
    config: Config,
    setup: TrainingSession,
    observers: Sequence[Callback],
    budget: Budget | None = None,
    *,
    resume: str | None = None,
    asked: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> TrainResult:
    """Train in an MLflow run of its own, judge the result, log and register it.

    Args:
        config: all settings.
        setup: device, data and the model's name.
        observers: told of each epoch besides the tracker.
        budget: keeps training to a time.
        resume: the id of the run of a training that was stopped and goes on; None: a new one.
        asked: the parameters by their names, for who goes on with it.
        say: told a line when something is worth knowing.

    Raises:
        TrainingError: the loss is not finite; the run is FAILED, nothing is registered.
        TrackingError: the exported model does not answer as the trained one, or the store does not
            take what was written: it waits on this machine.
        CheckpointError: what a stopped training has left cannot be gone on from.
    """
    tags = setup.tags() | {SETTINGS: json.dumps(dict(asked or {}))}
    if resume and (path := RunFolder(resume).checkpoint).exists():
        load_matching(path, _identity(config, setup))  # raises before anything is changed
    with training_run(run_name(config, setup), tags, resume=resume, resumable=True, say=say) as run:
        export.rehearse()
        trained = fit_and_judge(run, config, setup, observers, budget=budget, durable=True)
        # The model first: should a picture fail, what took minutes to train is safe.
        post_model(run, trained, setup, _registration(trained, setup, run.id))
        post_pictures(run, trained)
        run.deliver()
        registered = versions.registered_from(run.id, setup.model_name)
        decision = champion.recorded_decision(registered)  # by a process that was stopped since
        if decision is None:
            arena = GateEvaluator(setup.source, config.data.border)
            model = Batched(trained.segmenter, torch.device("cpu"))
            decision = try_promote(registered, arena, model, run)
        drop_checkpoints(run.id, say)
    with contextlib.suppress(PeerLostError):  # all is done
        setup.group.barrier()  # for this the others wait: had this process died, they were needed
    return TrainResult(
        run_id=run.id,
        evaluation=trained.evaluation,
        story=trained.story,
        registered=registered,
        aliases=versions.version_info(registered.name, registered.version).aliases,
        decision=decision,
    )


def run_worker(config: Config, setup: TrainingSession) -> None:
    """Train as one of several processes, of which another one tracks and registers.

    Raises:
        PeerLostError: another process has gone.
        TrainingError: the loss is not finite.
        CheckpointError: what this machine has kept cannot be gone on from.
    """
    group = setup.group
    group.broadcast(None, long_timeout=True)
    keeper = _Received(group)
    network, batches = setup.start(config)
    with StopSignal().defer():  # the main process hears it, and this one of its end
        fit(network, batches, config.training, setup.compute, keeper=keeper, group=group)
    group.barrier()


class _Received:
    """The checkpoint that the main process has sent; keeps nothing itself."""

    def __init__(self, group: ProcessGroup) -> None:
        content = group.broadcast_bytes(b"")
        self._found = parse(content, Path("the main process's checkpoint")) if content else None

    def load(self) -> Snapshot | None:
        return self._found

    def on_step_end(self, take: Callable[[], Snapshot]) -> None:
        pass

    def on_epoch_end(self, take: Callable[[], Snapshot], *, now: bool) -> None:
        pass


def fit_and_judge(
    run: TrainingRun,
    config: Config,
    setup: TrainingSession,
    observers: Sequence[Callback],
    *,
    thumbnails: bool = True,
    budget: Budget | None = None,
    durable: bool = False,
) -> Trained:
    """Train in a run, tracked epoch by epoch, and score the result.

    Args:
        run: of this training.
        config: all settings.
        setup: device, data and the model's name.
        observers: told of each epoch besides the tracker.
        thumbnails: whether the table of images is to have pictures.
        budget: keeps training to a time.
        durable: whether checkpoints are kept, and gone on from where there is one.

    Raises:
        TrainingError: the loss is not finite.
        CheckpointError: there is a checkpoint that cannot be gone on from.
    """
    data, training = setup.data, config.training
    val = data["val"]
    run.log_params(_resolved(config, setup))
    inputs.log_splits(run, data, setup.source.root)
    network, batches = setup.start(config)
    tracker = TrackingCallback(run, val, training.epochs)
    watchers = [tracker, *observers]
    patience = EarlyStopping(training.patience) if training.patience else None
    if patience:
        watchers.append(patience)
    if durable:
        own = keeper_of(run, _identity(config, setup), tracker)
        setup.group.broadcast(None, long_timeout=True)
        keeper = own
        kept = keeper.load()
        setup.group.broadcast_bytes(content_of(own.path) if kept else b"")
        if kept:
            course = kept.metadata["course"]
            tracker.restore(kept.arrays, course["history"])
            if patience:
                patience.restore(course["best_epoch"])
        with own.interruption.defer():
            result = fit(
                network, batches, training, setup.compute, watchers, budget, keeper, setup.group
            )
        if own.interruption.asked:  # after the last checkpoint
            raise KeyboardInterrupt
    else:
        result = fit(network, batches, training, setup.compute, watchers, budget)
    if budget is not None:
        ran = dataclasses.replace(training, epochs=result.epochs)
        run.set_tags({"budget": str(budget)})
        run.rename(run_name(dataclasses.replace(config, training=ran), setup))
    segmenter = Segmenter(network, config.data.image_size).eval()
    gallery = Gallery(thumbnails=thumbnails)
    model = Batched(segmenter, setup.compute.device)
    evaluation, _ = evaluate(
        val.name, model, val.examples, config.data.border, gallery, val.files.__getitem__
    )
    story = model_card.TrainingSummary(
        config=config,
        data=setup.source.description,
        amp=setup.compute.amp,
        sizes={name: len(part) for name, part in data.items()},
        result=result,
        evaluation=evaluation,
    )
    run.describe(story.run())
    return Trained(
        segmenter=segmenter, result=result, evaluation=evaluation, story=story, gallery=gallery
    )


def post_model(
    run: TrainingRun,
    trained: Trained,
    setup: TrainingSession,
    registration: Mapping[str, Any] | None = None,
) -> None:
    """Pack the model, and post it with its figures and what registering it takes."""
    best_epoch, val = trained.result.best_epoch, setup.data["val"]
    packed = run.folder.path / "model"
    publish.pack(trained.segmenter, trained.story.config.model, packed)
    facts = publish.model_entry(
        final_metrics(trained.evaluation, best_epoch),
        inputs.dataset(val.name, val.digest, setup.source.root),
        best_epoch,
        registration,
    )
    run.log_model(packed, facts)


def post_pictures(run: TrainingRun, trained: Trained, *, with_curves: bool = True) -> None:
    """Post the pictures and the table of the validation images, and a picture of the curves."""
    log_images(run, trained.evaluation, trained.gallery)
    if with_curves:
        floor = trained.evaluation.counts.all_pet().mean().dice
        figure = curves(trained.result.history, trained.result.best_epoch, floor)
        run.log_figure(figure, "curves.png")


def _registration(trained: Trained, setup: TrainingSession, run_id: str) -> dict[str, Any]:
    """Return what registering the model takes, whenever that can be done."""
    name = setup.model_name
    return {
        "name": name,
        "description": trained.story.version(run_id),
        "tags": version_tags(trained, setup, run_id),
        "introduction": model_card.model(name, trained.story.data),
    }


def _identity(config: Config, setup: TrainingSession) -> dict[str, Any]:
    """Return what must be equal for a checkpoint to be of this training."""
    settings = {name: value for name, value in config.flat().items() if name not in _MAY_DIFFER}
    digests = {f"{name} images": part.digest for name, part in setup.data.items()}
    return {**settings, "training.precision": setup.compute.precision, **digests}


def version_tags(trained: Trained, setup: TrainingSession, run_id: str) -> dict[str, str]:
    """Return the tags of a registered version."""
    return {
        "dice": f"{trained.evaluation.counts.mean().dice:.4f}",
        "data.digest": setup.data["train"].digest[:12],
        "run": run_id,
    }


def _resolved(config: Config, setup: TrainingSession) -> dict[str, Any]:
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


def run_name(config: Config, setup: TrainingSession) -> str:
    """Say in a few words what the run was."""
    data = "synthetic" if setup.source.is_synthetic else "pets"
    return (
        # What differs most between runs comes first: MLflow cuts long names.
        f"w{config.model.width} lr{config.training.lr:g} seed{config.training.seed} "
        f"{config.training.epochs}ep {data}-{config.data.train_images} d{config.model.depth} "
        f"{config.data.image_size}px"
    )
