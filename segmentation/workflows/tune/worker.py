"""What a worker of a search does: trials and confirmations, each a training in a run of its own."""

import contextlib
import dataclasses
import gc
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from segmentation.config.training import Config
from segmentation.data.example import Example
from segmentation.errors import DataError, TrainingError, out_of_memory
from segmentation.evaluation.gallery import Gallery
from segmentation.evaluation.scoring import evaluate
from segmentation.models.predictor import Batched
from segmentation.tracking.registry import publish
from segmentation.tracking.runs.run import Run
from segmentation.tracking.store import connect
from segmentation.tracking.summaries.images import log_images
from segmentation.tracking.tags import PRUNED, STUDY_ID
from segmentation.training.callbacks import Callback
from segmentation.training.trainer import Trainer
from segmentation.tuning.report import confirmation_line, num_enqueued, trial_line
from segmentation.tuning.space import format_params
from segmentation.tuning.study import RunningTrial, Study, Trial
from segmentation.workflows.session import TrainingSession
from segmentation.workflows.tune.job import SearchJob, enqueue_confirmations, register_trial

_POLL = 0.5  # seconds
_SILENCE = 30.0  # seconds
# For so many seconds a trial waits at its end for a store that does not answer: the next one would
# need it too.
_PATIENCE = 600.0


def work(send: Callable[[Any], None], job: SearchJob, parent: Run) -> None:
    """Run trials until there are enough, then confirmations until they are done.

    Their runs are nested in `parent`. `send` is called with a line about each that has ended.
    """
    connect(writes=False)
    worker = _Worker(job, parent, send)
    worker.search()
    if job.search.confirm:
        worker.confirm()


class _Worker:
    """One process's trainings."""

    def __init__(self, job: SearchJob, parent: Run, send: Callable[[Any], None]) -> None:
        with_gate = "gate" in job.digests
        self._session = TrainingSession.load(
            job.trial_config({}), job.model_name, with_gate=with_gate
        )
        data = self._session.data
        changed = [name for name, part in data.items() if part.digest != job.digests[name]]
        if changed:
            raise DataError(
                f"the images of {' and '.join(changed)} have changed since this command began; "
                "restore them, or begin another study"
            )
        self._gate: tuple[Example, ...] = data.pop("gate").examples if with_gate else ()
        self._job, self._parent, self._send = job, parent, send
        self._study = job.open_study()

    def search(self) -> None:
        """Run trials until there are enough."""
        deadline = self._job.started + self._job.search.seconds
        for trial in self._run_all(
            self._study,
            lambda: self._job.search.trials if time.time() < deadline else 0,
            self._trial,
        ):
            if trial.state == "complete":
                register_trial(self._study, trial, self._job.model_name)
            self._send(trial_line(trial, self._study.trials(), self._job.search.trials))

    def confirm(self) -> None:
        """Train the finalists and train's defaults again."""
        enqueue_confirmations(self._job, self._study)
        study = self._study.confirmations
        for trial in self._run_all(study, lambda: num_enqueued(study.trials()), self._confirmation):
            self._send(confirmation_line(trial, study.trials()))

    def _run_all(
        self,
        study: Study,
        total: Callable[[], int],
        train: Callable[[RunningTrial], float | None],
    ) -> Iterator[Trial]:
        """Run what is left of a study, yielding each trial at its end.

        Waits for the trials of others, too: their parameters are tried again when they are lost.
        """
        while True:
            if (trial := study.run_next(total(), train)) is not None:
                yield trial
            elif any(other.state == "running" for other in study.trials()):
                time.sleep(_POLL)
            else:
                return

    def _trial(self, trial: RunningTrial) -> float | None:
        """Train as the trial says; return the validation Dice, None where it was pruned."""
        kind, what = f"trial {trial.number}", format_params(trial.params)
        config = self._job.trial_config(trial.params)
        pruning = _Pruning(trial)
        with self._open(trial, config, kind, what, "search") as session:
            session.fit([pruning, _Telling(self._send, f"{kind}: {what}")])
            evaluation = session.evaluate(thumbnails=False)
            dice = evaluation.counts.mean().dice
            if pruning.reason:
                session.run.log_metrics(session.final_metrics)
                session.run.set_tags({PRUNED: pruning.reason})
                session.run.rename(f"{kind} pruned {dice:.4f} {what}")
            else:
                session.log_model()
            session.log_images()
            session.run.deliver()
            if not pruning.reason:
                self._keep_model(trial, session)
        return None if pruning.reason else dice

    def _confirmation(self, trial: RunningTrial) -> float:
        """Train a finalist at full length with another seed; return its Dice on the gate split."""
        plan = trial.user_attrs["plan"]
        config = self._job.full_config(plan["params"], plan["seed"])
        kind, label = "confirm", plan["label"]
        what = f"{label}, seed {plan['seed']}: {format_params(plan['params'])}"
        with self._open(trial, config, kind, what, "confirmation", candidate=label) as session:
            session.fit([_Telling(self._send, f"{kind} {what}")])
            val, gallery = session.evaluate(), Gallery()
            model = Batched(session.segmenter, session.compute.device)
            gate = evaluate("gate", model, self._gate, config.data.border, gallery.draw)
            session.run.log_metrics(gate.metrics())
            session.choose_threshold(gate)
            session.log_model()
            log_images(session.run, gate, gallery)
            session.log_images()
            session.run.deliver()
            trial.set_user_attr("gate", [round(float(dice), 6) for dice in gate.counts.dice()])
            trial.set_user_attr("val", val.counts.mean().dice)
            self._keep_model(trial, session)
        return gate.counts.mean().dice

    @contextlib.contextmanager
    def _open(
        self,
        trial: RunningTrial,
        config: Config,
        kind: str,
        what: str,
        stage: str,
        **more: str,
    ) -> Iterator[TrainingSession]:
        tags = {
            "study": self._job.location.name,
            STUDY_ID: self._study.id,
            "stage": stage,
            "trial": str(trial.number),
            **more,
        }
        own = self._job.pipelines.get(config.training.augment)
        session = dataclasses.replace(self._session, config=config, augmentation=own)
        with (
            _explaining_memory(),
            session.open_run(kind, what, tags, parent=self._parent, patience=_PATIENCE) as run,
        ):
            trial.set_user_attr("run", run.id)
            yield session

    def _keep_model(self, trial: RunningTrial, session: TrainingSession) -> None:
        """Keep with the trial what registering its model takes, whoever comes to do it."""
        model = {"id": publish.logged_model(session.run.id), **session.registration()}
        trial.set_user_attr("model", model)


class _Pruning(Callback):
    """Reports each epoch to the study, and stops the training where the pruner would."""

    def __init__(self, trial: RunningTrial) -> None:
        self._trial = trial
        self.reason = ""

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        state = trainer.state
        self._trial.report(metrics["val/dice"], state.epoch)
        if not state.finished and self._trial.should_prune():
            self.reason = f"pruned after epoch {state.epoch}: other trials did better by then"
            state.stop_reason = self.reason


class _Telling(Callback):
    """Sends a line about a training every now and then, so that no search is silent for long."""

    def __init__(self, send: Callable[[Any], None], name: str) -> None:
        self._send, self._name, self._last = send, name, time.monotonic()

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        if time.monotonic() - self._last > _SILENCE and not trainer.state.finished:
            self._last = time.monotonic()
            epoch = f"epoch {trainer.state.epoch}/{trainer.state.schedule.epochs}"
            self._send(f"  {self._name}: {epoch}, val Dice {metrics['val/dice']:.3f}")


@contextlib.contextmanager
def _explaining_memory() -> Iterator[None]:
    """Let a trial fail, rather than the search, whose parameters take more memory than there is."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # which hold the tensors
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise TrainingError("memory ran out") from error
