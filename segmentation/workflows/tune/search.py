"""A search from start to end: study, parent run, workers, comparison, winner, report."""

import logging
from contextlib import ExitStack, suppress

from segmentation.runtime.worker_pool import WorkerPool
from segmentation.tracking.registry import versions
from segmentation.tracking.runs.run import Run
from segmentation.tracking.summaries import studies
from segmentation.tuning.report import (
    DEFAULTS,
    StudyReport,
    best_of,
    confirmation_line,
    finalists,
    trial_line,
)
from segmentation.tuning.study import COMMAND, Study
from segmentation.workflows.tune.finish import SearchResult, finish_search
from segmentation.workflows.tune.job import (
    CONFIRMATIONS,
    best_trials,
    num_enqueued,
    register_trial,
    requeue_lost_trials,
)
from segmentation.workflows.tune.plan import SearchPlan
from segmentation.workflows.tune.worker import work

_log = logging.getLogger(__name__)


def search(plan: SearchPlan) -> SearchResult:
    """Run what is missing of a study, confirm its finalists, register the winner.

    Raises:
        ConfigError: the study was begun with other settings.
        TrackingError: a store cannot be used, or holds another study.
        TrainingError: no trial came to its end.
    """
    job, session = plan.job, plan.session
    study = job.open_study()
    study.require_settings(plan.settings)
    study.optuna.set_user_attr(COMMAND, plan.command)
    if "gate" in job.digests:
        study.confirmations.require_settings({"gate images": job.digests["gate"][:16]})
    _log.info(plan.summary())
    with ExitStack() as opened:
        with study.lock():  # of several commands at once only one makes the parent run
            known, name = study.user_attrs.get("parent"), job.location.name
            tags = {"study": name, **session.tags()}
            run = studies.parent_run(f"tune {name}", tags, study.id, known)
            parent = opened.enter_context(run)
            study.optuna.set_user_attr("parent", parent.id)
            studies.log_settings(parent, job.flat(), session.data, session.source.root)
        search = _Search(plan, study, parent)
        search.run()
        return finish_search(plan, study, search.report(), parent)


class _Search:
    """One command's part in a search."""

    def __init__(self, plan: SearchPlan, study: Study, parent: Run) -> None:
        self._plan, self._job, self._study, self._parent = plan, plan.job, study, parent

    def run(self) -> None:
        """Run trials and confirmations until none is left."""
        self._repair()
        if done := sum(trial.finished for trial in self._study.trials()):
            _log.info("Going on with study %s: %d trials are done", self._job.location.name, done)
        try:
            if self._is_complete():
                _log.info(
                    "Nothing is left to run: %d trials were asked for", self._job.search.trials
                )
            else:
                pool = WorkerPool(
                    self._plan.workers, self._plan.threads, work, self._job, self._parent
                )
                pool.run(self._on_message, lambda death: _log.info(death[0].upper() + death[1:]))
        except BaseException:
            with suppress(Exception):  # what ended the search matters more
                self._repair()
                self._log_progress()
            raise
        self._repair()
        self._log_progress()

    def report(self) -> StudyReport:
        """Gather what is known now."""
        trials, confirmed = self._study.trials(), self._study.confirmations.trials()
        numbers = [trial.number for trial in best_trials(trials, self._job.search.confirm)]
        found = finalists(confirmed, [*numbers, DEFAULTS])
        return StudyReport(
            name=self._job.location.name,
            space=self._job.space,
            trials=trials,
            total=self._job.search.trials,
            epochs=self._job.search.trial_epochs,
            pruner=self._job.search.pruner,
            confirmed=confirmed,
            # With fewer seeds than the others one would be compared by another measure.
            finalists=[one for one in found if len(one.gate) == CONFIRMATIONS],
        )

    def _is_complete(self) -> bool:
        """Tell whether nothing is left to run, so that no worker needs to start."""
        trials = self._study.trials()
        if sum(trial.finished for trial in trials) < self._job.search.trials:
            return False
        if not self._job.search.confirm:
            return True
        wanted = {trial.number for trial in best_trials(trials, self._job.search.confirm)}
        confirmed = self._study.confirmations.trials()
        enqueued = {trial.params["candidate"] for trial in confirmed}
        finished = sum(trial.finished for trial in confirmed)
        return wanted | {DEFAULTS} <= enqueued and finished >= num_enqueued(
            self._study.confirmations
        )

    def _on_message(self, message: tuple[str, int]) -> None:
        """Tell of a trial that has ended."""
        stage, number = message
        if stage == "search":
            trials = self._study.trials()
            done = sum(t.finished and t.ended <= trials[number].ended for t in trials)
            _log.info(trial_line(trials[number], done, self._job.search.trials, best_of(trials)))
        else:
            confirmed = self._study.confirmations
            trials = confirmed.trials()
            done = sum(trial.finished for trial in trials)
            _log.info(confirmation_line(trials[number], done, num_enqueued(confirmed)))
        with suppress(Exception):  # it is logged again; no trial is to end for its sake
            self._log_progress()

    def _repair(self) -> None:
        """End in both stores what a killed process has left, and register what it had not."""
        requeue_lost_trials(self._study)
        name = self._job.model_name
        registered = versions.registered_runs(name, self._study.id)  # asked once, not for each
        for trial in self._study.trials():
            if trial.state == "complete" and trial.user_attrs["run"] not in registered:
                register_trial(self._study, trial, name)

    def _log_progress(self) -> None:
        """Bring the parent run's curves and description up to date."""
        with self._study.lock():
            studies.log_progress(self._parent, self._study.trials(), self.report().markdown())
