"""A search from start to end: study, parent run, workers, comparison, winner, report."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

from segmentation import study_report
from segmentation.config import Config
from segmentation.errors import TrainingError
from segmentation.pipeline import Setup
from segmentation.search_config import SearchConfig
from segmentation.space import Space
from segmentation.tracking import models, runs, studies
from segmentation.tracking.store import studies_folder
from segmentation.trials import (
    DEFAULTS,
    Job,
    confirmations,
    finalists,
    planned,
    register,
    said,
    work,
)
from segmentation.tuning import plots
from segmentation.tuning.storage import Place, find_place
from segmentation.tuning.study import Study, Trial
from segmentation.workers import Pool

#: Told one line at a time.
Say = Callable[[str], None]

#: May change while a study goes on: where and how it is computed, not what.
_FREE = ("data", "bad_examples", "device", "loader_workers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished search.

    Attributes:
        run_id: of the parent.
        story: what was found.
        registered: the winner.
        aliases: those that it was given.
    """

    run_id: str
    story: study_report.Story
    registered: models.Registered
    aliases: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Searching:
    """What was asked for, resolved.

    Attributes:
        asked: the settings of the search.
        space: what is searched.
        options: every other setting by its parameter's name, and train's defaults for what is
            searched.
        setup: device, data (`train`, `val`, and `gate` where finalists are confirmed), model.
        began: seconds since 1970, from which the timeout counts.
    """

    asked: SearchConfig
    space: Space
    options: Mapping[str, Any]
    setup: Setup
    began: float

    @property
    def name(self) -> str:
        """The study's name."""
        if self.asked.study != "auto":
            return self.asked.study
        text = json.dumps(self.settings(), sort_keys=True)
        kind = "synthetic" if self.setup.source.drawn else "pets"
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def settings(self) -> dict[str, Any]:
        """Return what must not change under the study's name."""
        own = {name: value for name, value in self.options.items() if name not in _FREE}
        data = self.setup.data
        return {
            **own,
            **{name: str(dimension) for name, dimension in self.space.items()},
            "trial_epochs": self.asked.trial_epochs,
            "pruner": self.asked.pruner,
            **{f"{name} images": data[name].digest[:16] for name in ("train", "val")},
        }

    def place(self) -> Place:
        """Say where the study is kept.

        Raises:
            ConfigError: the name or the storage cannot be.
        """
        storage = "" if self.asked.storage == "file" else self.asked.storage
        return find_place(self.name, storage, studies_folder(), self.asked.heartbeat)

    def workers(self) -> int:
        """Return how many trials run at once."""
        if self.asked.workers:
            return self.asked.workers
        return 2 if self.setup.compute.device.type == "cpu" and _cores() > 1 else 1

    def threads(self) -> int:
        """Return each worker's share of the threads."""
        return max(1, _cores() // self.workers())

    def line(self) -> str:
        """Say in a line what begins."""
        sizes = ", ".join(f"{len(part)} {name}" for name, part in self.setup.data.items())
        space = ", ".join(f"{name} {dimension}" for name, dimension in self.space.items())
        return (
            f"Study {self.name} in {self.place().shown}: {space}; {self.asked.trials} trials of "
            f"{self.asked.trial_epochs} epochs, {self.workers()} at once on "
            f"{self.setup.compute.device.type}, {self.setup.compute.amp}; images: {sizes}"
        )

    def job(self, parent: runs.Run) -> Job:
        """Return what the workers are to do."""
        gate = self.setup.data.get("gate")
        seconds = self.asked.seconds
        return Job(
            place=self.place(),
            space=self.space,
            options=self.options,
            trial_epochs=self.asked.trial_epochs,
            trials=self.asked.trials,
            deadline=None if seconds is None else self.began + seconds,
            confirm=self.asked.confirm,
            pruner=self.asked.pruner,
            gate=gate.examples if gate else (),
            parent=parent,
            model_name=self.setup.model_name,
        )


def search(searching: Searching, say: Say) -> Outcome:
    """Run what is missing of a study, confirm its finalists, register the winner.

    Args:
        searching: what was asked for.
        say: told a line for each trial.

    Raises:
        ConfigError: the study was begun with other settings.
        TrainingError: no trial came to its end.
    """
    study = searching.job(runs.Run(id="", experiment="")).study()
    study.require_settings(searching.settings())
    tags = {"study": searching.name, "stage": "parent", **searching.setup.tags()}
    with ExitStack() as opened:
        with study.locked():  # of several commands at once only one makes the parent run
            known = study.recall("parent")
            parent = opened.enter_context(studies.parent_run(f"tune {searching.name}", tags, known))
            if parent.id != known:
                study.keep("parent", parent.id)
        return _Searcher(searching, searching.job(parent), study, say).run()


class _Searcher:
    """One command's part in a study."""

    def __init__(self, searching: Searching, job: Job, study: Study, say: Say) -> None:
        self._searching, self._job, self._study, self._say = searching, job, study, say
        self._setup = searching.setup
        self._confirmation = confirmations(study)

    def run(self) -> Outcome:
        asked = self._searching
        studies.log_settings(
            {f"search.{name}": str(dimension) for name, dimension in asked.space.items()}
            | {f"search.{name}": value for name, value in dataclasses.asdict(asked.asked).items()}
            | Config.from_options(asked.options).flat()
        )
        self._mend()
        done = sum(trial.finished for trial in self._study.trials())
        if done:
            self._say(f"Going on with study {self._job.place.name}: {done} trials are done")
        try:
            if not self._complete():
                pool = Pool(asked.workers(), asked.threads(), work, self._job)
                pool.run(self._hear, self._on_death)
        finally:
            with suppress(Exception):  # whatever ended the search matters more
                self._mend()
                self._show()
        return self._finish()

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
            done = (
                sum(t.finished and t.ended is not None and t.ended <= ended for t in trials)
                if ended
                else 0
            )
            self._say(_line(trials[number], done, self._job.trials, study_report.best_of(trials)))
        else:
            trials = self._confirmation.trials()
            done = sum(trial.finished for trial in trials)
            self._say(_confirmation_line(trials[number], done, planned(trials)))
        self._show()

    def _on_death(self, clause: str) -> None:
        self._say(clause[0].upper() + clause[1:])
        self._mend()

    def _mend(self) -> None:
        """End in both stores what a killed process has left, and register what it had not."""
        for study in (self._study, self._confirmation):
            with study.locked():
                study.recover()
        both = {"search": self._study, "confirmation": self._confirmation}
        with self._study.locked(), self._confirmation.locked():
            states = {
                (stage, trial.number): (trial.state, trial.notes.get("run"))
                for stage, study in both.items()
                for trial in study.trials()
            }

            def state_of(stage: str, number: int, run_id: str) -> str:
                state, own = states.get((stage, number), ("lost", None))
                return state if own in (None, run_id) else "lost"

            studies.reconcile(self._job.place.name, state_of)
        for trial in self._study.trials():
            if trial.state == "complete":
                register(self._job, self._study, trial, self._setup.model_name)

    def _show(self) -> None:
        """Bring the parent run's curves and description up to date."""
        finished = sorted(
            (trial for trial in self._study.trials() if trial.finished and trial.ended),
            key=lambda trial: (trial.ended, trial.number),
        )
        points, best = [], None
        for position, trial in enumerate(finished, start=1):
            point = {"trials/finished": float(position), "trials/epochs": float(trial.reports)}
            if trial.value is not None:
                point["trials/dice"] = trial.value
            if trial.state == "complete" and trial.value is not None:
                best = trial.value if best is None else max(best, trial.value)
            if best is not None:
                point["best/dice"] = best
            points.append(point)
        with self._study.locked():
            studies.log_progress(self._job.parent, points)
        runs.describe(self._story().markdown())

    def _story(self, **known: Any) -> study_report.Story:
        """Gather what is known now."""
        trials, confirmed = self._study.trials(), self._confirmation.trials()
        numbers = [trial.number for trial in finalists(trials, self._job.confirm)]
        found = study_report.candidates(confirmed, [*numbers, DEFAULTS])
        whole = max((len(candidate.gate) for candidate in found), default=0)
        # Half-trained candidates would be compared over fewer seeds.
        found = [candidate for candidate in found if len(candidate.gate) == whole]
        defaults = next((one for one in found if one.number == DEFAULTS), None)
        others = [one for one in found if one.number != DEFAULTS]
        return study_report.Story(
            **{
                "name": self._job.place.name,
                "space": self._job.space,
                "trials": trials,
                "asked": self._job.trials,
                "epochs": self._job.trial_epochs,
                "pruner": self._job.pruner,
                "confirmed": confirmed,
                "candidates": found,
                "comparisons": study_report.compare_with(defaults, others) if defaults else {},
                "config": None,
                "winner": "",
                "importances": {},
                "disk": None,
                "dropped": 0,
                **known,
            }
        )

    def _finish(self) -> Outcome:
        """Register the winner, drop what is not to be kept, write the report and the plots."""
        job, story = self._job, self._story()
        best = study_report.best_of(story.trials)
        if best is None:
            reasons = {
                str(trial.notes["failure"]) for trial in story.trials if trial.state == "failed"
            }
            raise TrainingError(
                f"study={job.place.name}: no trial came to its end"
                + (f" ({'; '.join(sorted(reasons))})" if reasons else "")
                + "; give more `trials` or another space"
            )
        if story.candidates:
            first = story.candidates[0]
            trial, above = first.best, bool(first.best.notes["above_floors"])
            config = job.whole_config(first.params, int(trial.params["seed"]))
        else:
            trial, above, config = best, True, job.trial_config(best.params)
        story = dataclasses.replace(story, config=config)
        registered = self._register(story, trial)
        aliases = models.promote(registered, above_floors=above)
        dropped = 0
        keep = self._searching.asked.keep
        if keep != "all":
            kept = [trial, *finalists(list(story.trials), keep)]
            dropped = studies.drop_models(job.place.name, {one.notes["run"] for one in kept})
        story = dataclasses.replace(
            story,
            winner=registered.uri,
            importances=plots.importances(self._study.optuna),
            disk=studies.disk_use(job.place.name),
            dropped=dropped,
        )
        self._log(story)
        return Outcome(run_id=job.parent.id, story=story, registered=registered, aliases=aliases)

    def _register(self, story: study_report.Story, trial: Trial) -> models.Registered:
        """Register the winner's weights, if nobody has."""
        job, name = self._job, self._setup.model_name
        if not story.candidates:
            return register(job, self._study, trial, name)
        with self._study.locked():
            known = models.version_of(trial.notes["run"], name, "winner")
            if known:
                return known
            return models.register(
                trial.notes["model"],
                name,
                f"**Winner of the study `{job.place.name}`.** {story.verdict()}\n\n"
                f"{trial.notes['described']}",
                {
                    **trial.notes["tags"],
                    "study": job.place.name,
                    "purpose": "winner",
                    "candidate": story.candidates[0].label,
                    "gate.dice": f"{trial.value:.4f}",
                },
            )

    def _log(self, story: study_report.Story) -> None:
        pictures = plots.pictures(self._study.optuna)
        step = sum(trial.finished for trial in story.trials)
        for key, picture in pictures.items():
            studies.show_picture(self._job.parent, f"search/{key}", picture, step)
        figures: dict[str, float] = {}
        for candidate in story.candidates:
            key = "defaults" if candidate.number == DEFAULTS else "finalist"
            figures.setdefault(f"{key}/gate_dice", candidate.mean)  # the first is the best
        if story.candidates:
            figures["winner/gate_dice"] = story.candidates[0].mean
            figures["winner/gate_images"] = story.candidates[0].gate.shape[1]
        studies.log_study(
            story.markdown(),
            pictures,
            plots.page(self._study.optuna, f"Study {story.name}"),
            figures,
            {"trials.json": [_plain(trial) for trial in story.trials]},
        )


def _plain(trial: Trial) -> dict[str, Any]:
    """Return a trial as JSON takes it."""
    return {
        "number": trial.number,
        "state": trial.state,
        "params": trial.params,
        "value": trial.value,
        "epochs": trial.reports,
        "seconds": trial.seconds,
        "run": trial.notes.get("run"),
        "failure": trial.notes.get("failure"),
    }


def _line(trial: Trial, done: int, asked: int, best: Trial | None) -> str:
    """Return the line of a trial that has ended."""
    what = {
        "complete": f"Dice {trial.value:.3f}" if trial.value is not None else "",
        "pruned": f"pruned after epoch {trial.reports}"
        + (f" at {trial.value:.3f}" if trial.value is not None else ""),
        "failed": f"failed: {trial.notes.get('failure')}",
    }.get(trial.state, "lost with its process; tried again")
    so_far = f"best {best.value:.3f}: trial {best.number}" if best else "none complete yet"
    return (
        f"Trial {trial.number}: {said(trial.params)}: {what}, {trial.seconds:.0f} s  "
        f"[{done}/{asked}; {so_far}]"
    )


def _confirmation_line(trial: Trial, done: int, total: int) -> str:
    """Return the line of a confirmation that has ended."""
    label = trial.notes["plan"]["label"]
    what = (
        f"gate Dice {trial.value:.3f}"
        if trial.state == "complete"
        else f"failed: {trial.notes.get('failure')}"
        if trial.state == "failed"
        else "lost with its process; tried again"
    )
    return (
        f"Confirming {label}, seed {trial.params.get('seed')}: {what}, {trial.seconds:.0f} s  "
        f"[{done}/{total}]"
    )


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
