"""What a worker of a search does: trials and confirmations, each a training in a run of its own."""

import contextlib
import gc
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from segmentation.data.oxford_pets import Example
from segmentation.data.sources import resolve_source
from segmentation.errors import DataError, TrainingError, out_of_memory
from segmentation.evaluation.scoring import evaluate
from segmentation.models.predictor import Batched
from segmentation.runtime.device import choose_compute
from segmentation.tracking.registry import publish
from segmentation.tracking.runs.run import final_metrics
from segmentation.tracking.runs.training_run import TrainingRun, training_run
from segmentation.tracking.store import connect
from segmentation.tracking.summaries.gallery import Gallery
from segmentation.training.callbacks import EpochReport, FitResult, Samples, StopTraining
from segmentation.tuning.space import format_params
from segmentation.tuning.storage import WorkerLock
from segmentation.tuning.study import Failed, Pruned, RunningTrial, Study
from segmentation.workflows.session import (
    Trained,
    TrainingSession,
    fit_and_judge,
    load_data,
    post_model,
    post_pictures,
    version_tags,
)
from segmentation.workflows.tune.job import SearchJob, confirmations, plan, planned, register

_POLL = 0.5  # seconds
# For so many seconds a trial waits at its end for a store that does not answer: the next one would
# need it too.
_PATIENCE = 600.0


def work(tell: Callable[[Any], None], job: SearchJob) -> None:
    """Run trials until there are enough, then confirmations until they are done.

    Args:
        tell: called with (stage, number) of each trial that has ended.
        job: what to do.
    """
    connect()
    config = job.trial_config({})
    compute = choose_compute(config.training)
    source = resolve_source(config.data.source)
    with_gate = "gate" in job.digests
    data = load_data(config.data, source, lambda done, total: None, with_gate=with_gate)
    changed = [name for name, part in data.items() if part.digest != job.digests[name]]
    if changed:
        raise DataError(
            f"the images of {' and '.join(changed)} have changed since this command began; restore "
            "them, or begin another study"
        )
    gate = data.pop("gate").examples if with_gate else ()
    worker = _Worker(job, TrainingSession.of(compute, source, data, job.model_name), gate, tell)
    study = job.study()
    worker.work_off(study, "search", lambda: job.trials)
    if not job.confirm:
        return
    confirmation = confirmations(study)
    with study.locked():
        plan(job, study, confirmation)
    worker.work_off(confirmation, "confirmation", lambda: planned(confirmation.trials()))


class _Worker:
    """One process's trainings."""

    def __init__(
        self,
        job: SearchJob,
        setup: TrainingSession,
        gate: tuple[Example, ...],
        tell: Callable[[Any], None],
    ) -> None:
        self._job, self._setup, self._gate, self._tell = job, setup, gate, tell

    def work_off(self, study: Study, stage: str, total: Callable[[], int]) -> None:
        """Run what is left of a study, and wait for what others run: they may die."""
        presence = WorkerLock(study.place)
        run = self._trial if stage == "search" else self._confirmation
        deadline = self._job.deadline if stage == "search" else None
        try:
            while True:
                trial = None
                if deadline is None or time.time() < deadline:
                    trial = study.run_next(total(), presence, run)
                if trial is not None:
                    if trial.state == "complete" and stage == "search":
                        register(study, trial, self._setup.model_name)
                    self._tell((stage, trial.number))
                    continue
                with study.locked():
                    study.requeue_lost_trials()
                    if not any(other.state == "running" for other in study.trials()):
                        return
                time.sleep(_POLL)
        finally:
            presence.close()

    def _trial(self, attempt: RunningTrial) -> float:
        """Run one trial of the search; return the validation Dice."""
        config = self._job.trial_config(attempt.params)
        pruning = _Pruning(attempt)
        name = f"trial {attempt.number}: {format_params(attempt.params)}"
        with (
            _failures(),
            self._run(name, "search", attempt, {}) as run,
        ):
            attempt.set_attr("run", run.id)
            trained = fit_and_judge(run, config, self._setup, [pruning], thumbnails=False)
            if pruning.reason:
                best_epoch = trained.result.best_epoch
                run.log_metrics(final_metrics(trained.evaluation, best_epoch))
                run.set_tags({"pruned": pruning.reason})
                run.status = "KILLED"
            else:
                post_model(run, trained, self._setup)
            # MLflow draws the curves of a trial itself; a picture of them is for whole trainings.
            post_pictures(run, trained, with_curves=False)
            run.deliver()
            if not pruning.reason:
                self._note_model(attempt, trained, run.id)
        if pruning.reason:
            raise Pruned(pruning.reason)
        return trained.evaluation.counts.mean().dice

    def _confirmation(self, attempt: RunningTrial) -> float:
        """Train a finalist at full length with another seed; return its Dice on the gate split."""
        candidate = attempt.enqueue()
        config = self._job.whole_config(candidate["params"], int(attempt.params["seed"]))
        name = (
            f"confirm {candidate['label']}, seed {config.training.seed}: "
            f"{format_params(candidate['params'])}"
        )
        more = {"candidate": candidate["label"]}
        with _failures(), self._run(name, "confirmation", attempt, more) as run:
            attempt.set_attr("run", run.id)
            trained = fit_and_judge(run, config, self._setup, [])
            gallery = Gallery()
            model = Batched(trained.segmenter, self._setup.compute.device)
            gate, problems = evaluate("gate", model, self._gate, config.data.border, gallery)
            if problems:
                raise DataError("images of the gate split cannot be used:", problems)
            run.log_metrics(gate.metrics())
            gallery.log(run, gate)
            attempt.set_attr("gate", [round(float(dice), 6) for dice in gate.counts.dice()])
            attempt.set_attr("val", trained.evaluation.counts.mean().dice)
            post_model(run, trained, self._setup)
            post_pictures(run, trained)
            run.deliver()
            self._note_model(attempt, trained, run.id)
        return gate.counts.mean().dice

    def _run(
        self, name: str, stage: str, attempt: RunningTrial, more: dict[str, str]
    ) -> AbstractContextManager[TrainingRun]:
        """Open the run of a trial or a confirmation."""
        tags = self._setup.tags() | {
            "study": self._job.place.name,
            "study.id": self._job.study_id,
            "stage": stage,
            "trial": str(attempt.number),
            **more,
        }
        return training_run(name, tags, parent=self._job.parent, patience=_PATIENCE)

    def _note_model(self, attempt: RunningTrial, trained: Trained, run_id: str) -> None:
        """Note what registering the model takes, whoever comes to do it."""
        attempt.set_attr("model", publish.logged_model(run_id))
        attempt.set_attr("described", trained.story.version(run_id))
        attempt.set_attr("tags", version_tags(trained, self._setup, run_id))
        attempt.set_attr("data", trained.story.data)


class _Pruning:
    """Reports each epoch to the study and stops when the pruner would."""

    def __init__(self, attempt: RunningTrial) -> None:
        self._attempt = attempt
        self.reason = ""

    def on_fit_start(self, samples: Samples) -> None:
        """Do nothing."""

    def on_epoch_end(self, report: EpochReport) -> None:
        """Stop after an epoch that is not promising, if there are others to come."""
        if self._attempt.report(report.epoch, report.val.dice) and report.epoch < report.epochs:
            self.reason = f"pruned after epoch {report.epoch}: other trials did better by then"
            raise StopTraining(self.reason)

    def on_fit_end(self, result: FitResult) -> None:
        """Do nothing."""


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turn what other parameters would not have run into into `Failed`."""
    try:
        yield
    except TrainingError as error:
        raise Failed(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # which hold the tensors
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise Failed("memory ran out") from error
