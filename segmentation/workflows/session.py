"""One training: its settings, data and device, its run in the store, the model that comes of it."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from segmentation.config.training import FREE, OWN_ENCODER, Config
from segmentation.data.augmentation.pipeline import Pipeline
from segmentation.data.augmentation.transforms import own_pipeline
from segmentation.data.dataset import SplitDataset
from segmentation.data.images.examples import note_on_turned
from segmentation.data.loader import BatchLoader, require_shared_memory
from segmentation.data.loading import load_data
from segmentation.data.sources import Source, resolve_source
from segmentation.data.splits import val_images
from segmentation.errors import ConfigError, DataError
from segmentation.evaluation.gallery import Gallery
from segmentation.evaluation.pictures import curves, encode_figure, try_draw
from segmentation.evaluation.scoring import Evaluation, ScoredImage, evaluate
from segmentation.evaluation.threshold import OwnThreshold, choose_threshold
from segmentation.models.predictor import Batched
from segmentation.models.unet import Segmenter, build_unet
from segmentation.runtime.device import Compute, choose_compute
from segmentation.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from segmentation.runtime.signals import StopSignal
from segmentation.tracking.logging.callback import TrackingCallback
from segmentation.tracking.logging.run_logger import GLANCE
from segmentation.tracking.registry import publish, versions
from segmentation.tracking.runs import inputs
from segmentation.tracking.runs.logged_settings import PIPELINE
from segmentation.tracking.runs.run_folder import RunFolder
from segmentation.tracking.runs.training_run import TrainingRun, training_run
from segmentation.tracking.summaries import images
from segmentation.tracking.tags import AUGMENTATION, GROUP
from segmentation.tracking.templates import linked, render
from segmentation.training.callbacks import Callback, EarlyStopping
from segmentation.training.checkpoint import Checkpoint, parse, require_same
from segmentation.training.loop import fit
from segmentation.training.schedule import TrainingState
from segmentation.training.time_budget import TimeBudget, measure_budget
from segmentation.training.trainer import Trainer
from segmentation.utils.concurrency import Progress, ignore_progress

_log = logging.getLogger(__name__)


@dataclasses.dataclass(kw_only=True)
class TrainingSession:
    """One training, from its settings to the model that is registered.

    `open_run`, `fit`, `evaluate`, `choose_threshold` where it is judged on the gate, then
    `log_model` and `log_images`, in this order. Of several processes only the main one does more
    than `fit`.
    """

    config: Config
    compute: Compute
    source: Source
    #: The splits `train` and `val`, by name.
    data: dict[str, SplitDataset]
    model_name: str
    #: A person's own.
    augmentation: Pipeline | None
    group: ProcessGroup = SINGLE_PROCESS
    budget: TimeBudget | None = None
    run: TrainingRun = dataclasses.field(init=False)
    #: With the weights of its best epoch, in eval mode.
    segmenter: Segmenter = dataclasses.field(init=False)
    result: TrainingState = dataclasses.field(init=False)
    #: Of the model on the validation images, at their own size; `gallery` shows them.
    evaluation: Evaluation = dataclasses.field(init=False)
    gallery: Gallery = dataclasses.field(init=False)
    threshold: OwnThreshold = dataclasses.field(init=False)
    _kind: str = dataclasses.field(init=False)
    _what: str = dataclasses.field(init=False)

    @classmethod
    def load(
        cls,
        config: Config,
        model_name: str = "",
        progress: Progress = ignore_progress,
        *,
        group: ProcessGroup = SINGLE_PROCESS,
        with_gate: bool = False,
    ) -> "TrainingSession":
        """Find the device and the data, and decode the data, if wanted the gate split, too.

        An empty model name is the usual one of the data. A ConfigError says that device, encoder or
        number of images cannot be, a DataError that lists or files cannot be used.
        """
        compute = choose_compute(config.training, group.local_rank)
        augmentation = own_pipeline(config.training.augment, config.data.image_size)
        workers = config.training.loader_workers
        if workers and augmentation and augmentation.own_classes:
            names = ", ".join(sorted(augmentation.own_classes))
            raise ConfigError(
                f"loader_workers={workers}: other processes do not know {names}; leave it out"
            )
        require_shared_memory(config.training.loader_workers)
        with group.local_main_process_first():  # the others find the images decoded
            build_unet(config.model, config.training.seed)  # or what is missing is said at once
            source = resolve_source(config.data)
            _log.info(source.summary)
            data = load_data(config.data, source, progress, with_gate=with_gate)
        for name, part in data.items():
            for problem in part.problems:
                _log.info("Left out of %s: %s", name, problem)
            if source.labels.empty and part.empty:
                _log.info("Without foreground: %d of %d images of %s", part.empty, len(part), name)
        turned = [name for part in data.values() for name in part.turned]
        for line in note_on_turned(turned, source.labels):
            _log.info(line)
        return cls(
            config=config,
            compute=compute,
            source=source,
            data=data,
            model_name=model_name or source.model_name,
            augmentation=augmentation,
            group=group,
        )

    def _summary(self, epochs: int) -> str:
        model, training, data = self.config.model, self.config.training, self.config.data
        number = data.train_images if data.train_images == "all" else len(self.data["train"])
        own = model.encoder == OWN_ENCODER
        encoder = "" if own else f"{model.encoder.removeprefix('efficientnet_')} "
        return (
            # What differs most between runs comes first: MLflow cuts long names.
            f"{encoder}w{model.width} lr{training.lr:g} seed{training.seed} {epochs}ep "
            f"{self.source.kind}-{number} {f'd{model.depth} ' if own else ''}{data.image_size}px"
        )

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be of this training, by name."""
        settings = self.config.options() | {"precision": self.compute.precision} | self.digests
        if self.augmentation:
            settings["augment"] = self.augmentation.digest
        return {name: value for name, value in settings.items() if name not in FREE}

    @property
    def digests(self) -> dict[str, str]:
        """What tells the images of each split from others, by a name such as `train images`."""
        return {f"{name} images": part.digest for name, part in self.data.items()}

    def settings(self) -> dict[str, Any]:
        """Return the settings by their parameters' names, `auto` and `all` as what they came to."""
        return {
            **self.config.used(),
            **{
                f"{name}_images": len(part.examples) + len(part.problems)
                for name, part in self.data.items()
            },
            # With groups there may be others, from which the split could not be found again.
            "val_images": val_images(self.source.trainval(), self.config.data),
            "data": self.source.name,
            "device": self.compute.device.type,
            "precision": self.compute.precision,
            "model_name": self.model_name,
        }

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
            **({GROUP: self.group.key} if self.group.key else {}),
            **({AUGMENTATION: self.augmentation.digest} if self.augmentation else {}),
        }

    def require_same_in_all_processes(self) -> None:
        """Compare images, augmentation and precision of the processes that train together.

        A ConfigError ends the main process; the others learn that it has gone.
        """
        own = {**self.digests, "precision": self.compute.precision}
        own["augmentation"] = self.augmentation.digest if self.augmentation else ""
        main = self.group.broadcast(own)
        others = torch.tensor([int(own[name] != main[name]) for name in own])
        differing = [
            name for name, number in zip(own, self.group.all_reduce(others), strict=True) if number
        ]
        if differing and self.group.is_main_process:
            raise ConfigError(
                f"the processes of this training have not the same {' and '.join(differing)}; give "
                "each machine the same data and augment file, and say precision=fp32 or bf16 where "
                "they are unlike"
            )
        self.group.barrier()

    def fit_to_budget(self, seconds: float) -> TimeBudget:
        """Set the epochs to what fits into a time, what this takes included; return the budget."""
        config = self.config
        network = build_unet(config.model, config.training.seed)
        with contextlib.closing(self._batches()) as batches:
            budget = measure_budget(
                seconds, network, batches, config.training, self.compute, self.group
            )
        training = dataclasses.replace(config.training, epochs=budget.epochs())
        self.config, self.budget = dataclasses.replace(config, training=training), budget
        return budget

    @contextlib.contextmanager
    def open_run(
        self,
        kind: str = "train",
        what: str = "",
        tags: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Iterator[TrainingRun]:
        """Open the run, see `training_run`, whose `options` these are; log settings and data.

        Its name begins with the `kind` of training; `what` stands behind the score, if it is empty
        the settings that differ most.
        """
        tags = {**self.tags(), **(tags or {})}
        name = f"{kind} {what or self._summary(self.config.training.epochs)}"
        with training_run(name, tags, **options) as self.run:
            self._kind, self._what = kind, what
            self.run.log_settings(self.settings())
            if self.augmentation:
                self.run.log_artifact(self.augmentation.content, PIPELINE)
            inputs.log_splits(self.run, self.data, self.source)
            yield self.run

    def load_checkpoint(self, run_id: str) -> Checkpoint | None:
        """Return where a stopped training is to go on; the main process sends it to the others.

        A CheckpointError says that it is damaged, or of another training.
        """
        content = b""
        if self.group.is_main_process and (path := RunFolder(run_id).checkpoint).exists():
            content = path.read_bytes()
            require_same(parse(content, str(path)), self.fingerprint)
        content = self.group.broadcast_bytes(content)
        return parse(content, "the main process's checkpoint") if content else None

    def fit(
        self,
        callbacks: Sequence[Callback] = (),
        *,
        checkpoint: Checkpoint | None = None,
        resumable: bool = False,
    ) -> TrainingState:
        """Train, in all processes alike; only the main one tracks it and calls callbacks.

        `resumable` says whether checkpoints are kept, and the user may stop it: a KeyboardInterrupt
        says that this has happened. For other errors see `loop.fit`.
        """
        stop_signal, main = StopSignal(), self.group.is_main_process
        own = self._callbacks(callbacks, stop_signal if resumable else None) if main else []
        self.group.barrier()  # the main process may have taken long to open its run
        config = self.config
        network = build_unet(config.model, config.training.seed)
        with contextlib.closing(self._batches()) as batches:
            trainer = Trainer(network, batches, config.training, self.compute, self.group, own)
            with stop_signal.defer() if resumable else contextlib.nullcontext():
                self.result = fit(trainer, checkpoint)
        if stop_signal.requested and main:  # after the last checkpoint
            raise KeyboardInterrupt
        self.segmenter = Segmenter(network, config.data.image_size).eval()
        if self.budget and main:
            self.run.set_tags({"budget": str(self.budget)})
        return self.result

    def _callbacks(
        self, callbacks: Sequence[Callback], stop_signal: StopSignal | None
    ) -> list[Callback]:
        """Return those of the main process, in their order; no checkpoints without a signal."""
        training = self.config.training
        own: list[Callback] = [self.budget] if self.budget else []
        own += [TrackingCallback(self.run, self.data["val"], training.epochs), *callbacks]
        if training.patience:
            own.append(EarlyStopping(training.patience))
        if stop_signal:
            own.append(self.run.checkpointer(self.fingerprint, stop_signal))
        return own

    def evaluate(self, *, thumbnails: bool = True) -> Evaluation:
        """Score the model on the validation images at their own size, and name the run.

        A DataError says that a photo is gone or was changed since the training began.
        """
        val, self.gallery = self.data["val"], Gallery(thumbnails=thumbnails)
        model = Batched(self.segmenter, self.compute.device)
        known = dict(zip(val.examples, val.digests, strict=True))

        def draw(image: ScoredImage) -> None:
            if image.digest != known[image.example]:
                raise DataError(f"{image.example.image}: was changed while it was in use")
            self.gallery.draw(image)

        self.evaluation = evaluate(val.name, model, val.examples, self.config.data.border, draw)
        dice, what = self.evaluation.counts.mean().dice, self._what
        self.run.rename(f"{self._kind} {dice:.4f} {what or self._summary(self.result.epoch)}")
        self.choose_threshold(None)
        return self.evaluation

    def choose_threshold(self, gate: Evaluation | None) -> None:
        """Choose the model's own threshold, see there, and describe the run."""
        self.threshold = choose_threshold(self.evaluation, gate)
        self.run.describe(self._page("run"))

    def _page(self, template: str) -> str:
        """Return what a colleague reads of the evaluated model, in Markdown."""
        return render(f"{template}.md", session=self, **vars(self.config))

    @property
    def final_metrics(self) -> dict[str, float]:
        """The figures of the model, by the names under which they are tracked."""
        return self.evaluation.final_metrics(self.result.best_epoch)

    def log_model(self, *, register: bool = False) -> None:
        """Export the model and log it with its figures; if wanted, it becomes a version then."""
        folder, val = self.run.folder.path / "model", self.data["val"]
        dataset = inputs.dataset(val.name, val.digest, self.source)
        publish.pack(self.segmenter, self.config.model, self.threshold.value, folder)
        entry = {
            "metrics": self.final_metrics,
            "dataset": {"name": dataset.name, "digest": dataset.digest},
            "step": self.result.best_epoch,
            "registration": self.registration() if register else None,
        }
        self.run.log_model(folder, entry)

    def registration(self) -> dict[str, Any]:
        """Return what registering the model takes, whoever does it, and whenever."""
        return {
            "name": self.model_name,
            "description": linked(self._page("version"), self.run.experiment),
            "tags": {
                "dice": f"{self.evaluation.counts.mean().dice:.4f}",
                "data.digest": self.data["train"].digest[:12],
                "run": self.run.id,
            },
            "introduction": self._page("model"),
        }

    def register(self) -> versions.VersionRef:
        """Wait until all is in the store, the model registered; return its version."""
        self.run.deliver()
        return versions.registered_from(self.run.id, self.model_name)

    def log_images(self) -> None:
        """Log the pictures and the table of the validation images, and a picture of the curves."""
        images.log_images(self.run, self.evaluation, self.gallery)
        history, best_epoch = self.result.history, self.result.best_epoch
        floor, noun = self.evaluation.counts.all_pet().mean().dice, self.source.labels.noun
        name = "curves.png"
        if png := try_draw(name, lambda: encode_figure(curves(history, best_epoch, floor, noun))):
            self.run.log_artifact(png, name)
            self.run.log_image_step(png, f"{GLANCE}/curves")

    def _batches(self) -> BatchLoader:
        train, val = self.data["train"], self.data["val"]
        return BatchLoader(train, val, self.config.training, self.group.shard, self.augmentation)
