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
from segmentation.errors import TrackingError, TrainingError
from segmentation.pipeline import Setup
from segmentation.search_config import SearchConfig
from segmentation.space import Space
from segmentation.tracking import descriptions, models, runs, studies
from segmentation.tracking.store import studies_folder
from segmentation.trials import (
    CONFIRMATIONS,
    DEFAULTS,
    Job,
    confirmations,
    dropped,
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
            # How long a machine may be silent is something that all must agree on.
            **({} if self.asked.storage == "file" else {"heartbeat": self.asked.heartbeat}),
        }

    def digests(self) -> dict[str, str]:
        """Return the digest of each split."""
        return {name: part.digest for name, part in self.setup.data.items()}

    def place(self) -> Place:
        """Say where the study is kept."""
        asked = self.asked
        return find_place(self.name, asked.storage, studies_folder(), asked.heartbeat)

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
            f"Study {self.name} in {self.place().address}: {space}; {self.asked.trials} trials of "
            f"{self.asked.trial_epochs} epochs, {self.workers()} at once on "
            f"{self.setup.compute.device.type}, {self.setup.compute.amp}; images: {sizes}"
        )

    def job(self, parent: runs.Run) -> Job:
        """Return what the workers are to do."""
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
            digests=self.digests(),
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
        TrackingError: a store cannot be used, or holds another study.
        TrainingError: no trial came to its end.
    """
    study = searching.job(runs.Run(id="", experiment="")).study()
    study.require_settings(searching.settings())
    confirmation = confirmations(study)
    if "gate" in searching.setup.data:
        confirmation.require_settings({"gate images": searching.digests()["gate"][:16]})
    tags = {"study": searching.name, **searching.setup.tags()}
    with ExitStack() as opened:
        with study.locked():  # of several commands at once only one makes the parent run
            known = study.recall("parent")
            parent = opened.enter_context(
                studies.parent_run(f"tune {searching.name}", tags, study.id, known)
            )
            if parent.id != known:
                study.keep("parent", parent.id)
        return _Searcher(searching, searching.job(parent), (study, confirmation), say).run()


class _Searcher:
    """One command's part in a study."""

    def __init__(self, searching: Searching, job: Job, both: tuple[Study, Study], say: Say) -> None:
        self._searching, self._job, self._say = searching, job, say
        self._study, self._confirmation = both
        self._setup = searching.setup

    def run(self) -> Outcome:
        asked = self._searching
        studies.log_settings(
            self._job.parent,
            {f"search.{name}": str(dimension) for name, dimension in asked.space.items()}
            | {f"search.{name}": value for name, value in dataclasses.asdict(asked.asked).items()}
            | Config.from_options(asked.options).flat(),
            self._setup.data,
            self._setup.source.root,
        )
        self._mend()
        done = sum(trial.finished for trial in self._study.trials())
        if done:
            self._say(f"Going on with study {self._job.place.name}: {done} trials are done")
        try:
            if not self._complete():
                pool = Pool(asked.workers(), asked.threads(), work, self._job)
                pool.run(self._hear, self._on_death)
        except BaseException:
            with suppress(Exception):  # what ended the search matters more
                self._mend()
                self._show()
            raise
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
        with suppress(Exception):  # it is shown again; no trial is to end for its sake
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

        def states() -> Callable[[str, int, str], str]:
            known = {
                (stage, trial.number): (trial.state, trial.notes.get("run"))
                for stage, study in both.items()
                for trial in study.trials()
            }

            def state_of(stage: str, number: int, run_id: str) -> str:
                state, own = known.get((stage, number), ("lost", None))
                return state if own in (None, run_id) else "lost"

            return state_of

        studies.reconcile(self._study.id, states)
        for trial in self._study.trials():
            if trial.state == "complete":
                register(self._study, trial, self._setup.model_name)

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
        runs.describe(self._story().markdown())

    def _story(self, **known: Any) -> study_report.Story:
        """Gather what is known now."""
        trials, confirmed = self._study.trials(), self._confirmation.trials()
        numbers = [trial.number for trial in finalists(trials, self._job.confirm)]
        found = study_report.candidates(confirmed, [*numbers, DEFAULTS])
        # With fewer seeds than the others a candidate would be compared by another measure.
        found = [candidate for candidate in found if len(candidate.gate) == CONFIRMATIONS]
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
                + "; give more `trials`, more time or another space"
            )
        if story.candidates:
            first = story.candidates[0]
            trial, params = first.best, first.params
            config = job.whole_config(params, int(trial.params["seed"]))
        else:
            trial, config = best, job.trial_config(best.params)
        story = dataclasses.replace(story, config=config)
        registered = self._register(story, trial)
        aliases = models.promote(registered, above_floors=bool(trial.notes["above_floors"]))
        self._drop(story)
        story = dataclasses.replace(
            story,
            winner=registered.uri,
            importances=plots.importances(self._study.optuna),
            disk=studies.disk_use(self._study.id),
            dropped=len(dropped(self._study)),
        )
        self._log(story, trial)
        return Outcome(run_id=job.parent.id, story=story, registered=registered, aliases=aliases)

    def _register(self, story: study_report.Story, trial: Trial) -> models.Registered:
        """Register the winner's weights, if nobody has."""
        name, study = self._setup.model_name, self._study
        if not story.candidates:
            found = register(study, trial, name)
            if found is None:
                raise TrackingError(
                    f"study={study.place.name}: the model of its best trial, {trial.number}, was "
                    "deleted by an earlier `keep`; say confirm=3, or give more `trials`"
                )
            return found
        first = story.candidates[0]
        tags = {
            **trial.notes["tags"],
            "study": study.place.name,
            "study.id": study.id,
            "purpose": "winner",
            "candidate": first.label,
            "gate.dice": f"{first.mean:.4f}",
        }
        text = (
            f"**Winner of the study `{study.place.name}`.** {story.verdict()}\n\n"
            f"{trial.notes['described']}"
        )
        with study.locked():
            registered = models.register(trial.notes["model"], name, text, tags)
            models.introduce(name, descriptions.model(name, trial.notes["data"]))
        return registered

    def _drop(self, story: study_report.Story) -> None:
        """Delete the models of losing trials, and of confirmations that are not their best."""
        keep, study = self._searching.asked.keep, self._study
        if keep == "all":
            return
        complete = [trial for trial in story.trials if trial.state == "complete"]
        kept = finalists(complete, keep) if story.candidates else finalists(complete, max(1, keep))
        losers = [trial for trial in complete if trial not in kept]
        with study.locked():  # noted first: what is deleted is not to be registered again
            gone = {*dropped(study), *(trial.number for trial in losers)}
            study.keep("dropped", sorted(gone))
        best = [candidate.best for candidate in story.candidates]
        losers += [t for c in story.candidates for t in c.trainings if t not in best]
        runs_of_losers = {trial.notes["run"] for trial in losers}
        studies.drop_models(study.id, self._setup.model_name, runs_of_losers)

    def _log(self, story: study_report.Story, winner: Trial) -> None:
        pictures = plots.pictures(self._study.optuna)
        figures: dict[str, float] = {}
        for candidate in story.candidates:
            key = "defaults" if candidate.number == DEFAULTS else "finalist"
            figures.setdefault(f"confirmed/{key}_gate_dice", candidate.mean)  # the best comes first
        studies.log_study(
            story.markdown(),
            pictures,
            plots.page(self._study.optuna, f"Study {story.name}"),
            figures,
            {"trials.json": [_plain(trial) for trial in story.trials]},
        )
        studies.link_model(self._job.parent, str(winner.notes["model"]))


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
