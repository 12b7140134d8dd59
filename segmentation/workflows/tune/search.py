"""A search from start to end: study, parent run, workers, comparison, winner, report."""

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack, suppress

from segmentation.config.training import Config
from segmentation.runtime.worker_pool import WorkerPool
from segmentation.tracking.registry import versions
from segmentation.tracking.summaries import studies
from segmentation.tuning import report as study_report
from segmentation.tuning.lines import confirmation_line, trial_line
from segmentation.tuning.study import COMMAND, Study
from segmentation.workflows.tune.finish import SearchFinish, SearchResult
from segmentation.workflows.tune.job import (
    CONFIRMATIONS,
    DEFAULTS,
    SearchJob,
    confirmations,
    finalists,
    planned,
    register,
    requeue_lost_trials,
)
from segmentation.workflows.tune.plan import SearchPlan
from segmentation.workflows.tune.worker import work

#: Told one line at a time.
Say = Callable[[str], None]


def search(searching: SearchPlan, say: Say) -> SearchResult:
    """Run what is missing of a study, confirm its finalists, register the winner.

    Args:
        searching: what was asked for.
        say: told a line for each trial.

    Raises:
        ConfigError: the study was begun with other settings.
        TrackingError: a store cannot be used, or holds another study.
        TrainingError: no trial came to its end.
    """
    study = searching.study()
    study.require_settings(searching.settings())
    study.set_attr(COMMAND, searching.command)
    say(searching.line())
    confirmation = confirmations(study)
    if "gate" in searching.setup.data:
        confirmation.require_settings({"gate images": searching.digests()["gate"][:16]})
    tags = {"study": searching.name, **searching.setup.tags()}
    with ExitStack() as opened:
        with study.locked():  # of several commands at once only one makes the parent run
            known = study.get_attr("parent")
            parent = opened.enter_context(
                studies.parent_run(f"tune {searching.name}", tags, study.id, known)
            )
            if parent.id != known:
                study.set_attr("parent", parent.id)
        return _Searcher(
            searching, searching.job(parent, study.id), (study, confirmation), say
        ).run()


class _Searcher:
    """One command's part in a study."""

    def __init__(
        self, searching: SearchPlan, job: SearchJob, both: tuple[Study, Study], say: Say
    ) -> None:
        self._searching, self._job, self._say = searching, job, say
        self._study, self._confirmation = both
        self._setup = searching.setup

    def run(self) -> SearchResult:
        asked = self._searching
        settings = (
            {f"search.{name}": str(dimension) for name, dimension in asked.space.items()}
            | {f"search.{name}": value for name, value in dataclasses.asdict(asked.asked).items()}
            | Config.from_options(asked.options).flat()
        )
        with self._study.locked():  # two commands that begin at once would both find none there
            studies.log_settings(
                self._job.parent, settings, self._setup.data, self._setup.source.root
            )
        self._mend()
        done = sum(trial.finished for trial in self._study.trials())
        if done:
            self._say(f"Going on with study {self._job.place.name}: {done} trials are done")
        try:
            if self._complete():
                self._say(f"Nothing is left to run: {self._job.trials} trials were asked for")
            else:
                pool = WorkerPool(asked.workers(), asked.threads(), work, self._job)
                pool.run(self._hear, self._on_death)
        except BaseException:
            with suppress(Exception):  # what ended the search matters more
                self._mend()
                self._show()
            raise
        self._mend()
        self._show()
        return SearchFinish(self._searching, self._job, self._study, self._story()).finish()

    def _complete(self) -> bool:
        """Tell whether nothing is left to run, so that no worker needs to start."""
        trials = self._study.trials()
        if sum(trial.finished for trial in trials) < self._job.trials:
            return False
        if not self._job.confirm:
            return True
        wanted = {trial.number for trial in finalists(trials, self._job.confirm)} | {DEFAULTS}
        confirmed = self._confirmation.trials()
        there = {trial.params.get("candidate") for trial in confirmed}
        finished = sum(trial.finished for trial in confirmed)
        return wanted <= there and finished >= planned(confirmed)

    def _hear(self, message: tuple[str, int]) -> None:
        """Tell of a trial that has ended."""
        stage, number = message
        if stage == "search":
            trials = self._study.trials()
            ended = trials[number].ended
            before = [t for t in trials if t.finished and t.ended and ended and t.ended <= ended]
            best = study_report.best_of(trials)
            self._say(trial_line(trials[number], len(before), self._job.trials, best))
        else:
            trials = self._confirmation.trials()
            done = sum(trial.finished for trial in trials)
            self._say(confirmation_line(trials[number], done, planned(trials)))
        with suppress(Exception):  # it is shown again; no trial is to end for its sake
            self._show()

    def _on_death(self, clause: str) -> None:
        self._say(clause[0].upper() + clause[1:])
        self._mend()

    def _mend(self) -> None:
        """End in both stores what a killed process has left, and register what it had not."""
        requeue_lost_trials(self._study, self._confirmation)
        name = self._setup.model_name
        there = versions.registered_runs(name, self._study.id)  # asked once, not for each trial
        for trial in self._study.trials():
            if trial.state == "complete" and trial.user_attrs["run"] not in there:
                register(self._study, trial, name)

    def _show(self) -> None:
        """Bring the parent run's curves and description up to date."""
        finished = sorted(
            (trial for trial in self._study.trials() if trial.finished and trial.ended),
            key=lambda trial: (trial.ended, trial.number),
        )
        points, best = [], None
        for trial in finished:
            point = {"trials/epochs": float(trial.reports)}
            if trial.value is not None:
                point["trials/dice"] = trial.value
            if trial.state == "complete" and trial.value is not None:
                best = trial.value if best is None else max(best, trial.value)
            if best is not None:
                point["best/dice"] = best
            points.append(point)
        with self._study.locked():
            studies.log_progress(self._job.parent, points)
            self._job.parent.describe(self._story().markdown())

    def _story(self) -> study_report.StudyReport:
        """Gather what is known now."""
        trials, confirmed = self._study.trials(), self._confirmation.trials()
        numbers = [trial.number for trial in finalists(trials, self._job.confirm)]
        found = study_report.candidates(confirmed, [*numbers, DEFAULTS])
        # With fewer seeds than the others a candidate would be compared by another measure.
        found = [candidate for candidate in found if len(candidate.gate) == CONFIRMATIONS]
        defaults = next((one for one in found if one.number == DEFAULTS), None)
        others = [one for one in found if one.number != DEFAULTS]
        return study_report.StudyReport(
            name=self._job.place.name,
            space=self._job.space,
            trials=trials,
            asked=self._job.trials,
            epochs=self._job.trial_epochs,
            pruner=self._job.pruner,
            confirmed=confirmed,
            candidates=found,
            comparisons=study_report.compare_with(defaults, others) if defaults else {},
        )
