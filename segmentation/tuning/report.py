"""What a search found: its report in Markdown, its lines on the console, its trials as JSON."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segmentation.config.search import SearchConfig
from segmentation.metrics.significance import Comparison, Floats, compare, seed_spread
from segmentation.tuning.space import Space, format_params, format_value
from segmentation.tuning.study import Trial
from segmentation.utils.templates import environment, line

#: Stands for train's defaults among the numbers of the trials that are confirmed.
DEFAULTS = -1

_LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finalist:
    """The settings of one of the best trials, or train's defaults, after their confirmations."""

    number: int  # of the trial that proposed them, or `DEFAULTS`
    label: str
    params: Mapping[str, Any]  # those that were searched
    val: float  # mean Dice over seeds on the validation images
    gate: Floats  # (seeds, images), Dice of each training on each gate image
    trainings: tuple[Trial, ...]  # the confirmations, in the order of `gate`

    @property
    def by_seed(self) -> list[float]:
        """Mean Dice over the gate images of each training."""
        return [float(dice) for dice in self.gate.mean(axis=1)]

    @property
    def mean(self) -> float:
        """Mean Dice over seeds and gate images."""
        return float(self.gate.mean())

    @property
    def best(self) -> Trial:
        """The training with the highest Dice on the gate split."""
        return self.trainings[self.by_seed.index(max(self.by_seed))]


def finalists(confirmed: Sequence[Trial], numbers: Sequence[int]) -> list[Finalist]:
    """Gather the finished confirmations of the settings of these `Finalist.number`s, best first."""
    found = []
    for number in numbers:
        mine = [t for t in confirmed if t.state == "complete" and t.params["candidate"] == number]
        mine.sort(key=lambda trial: trial.params["seed"])
        if mine:
            found.append(
                Finalist(
                    number=number,
                    label=mine[0].user_attrs["plan"]["label"],
                    params=mine[0].user_attrs["plan"]["params"],
                    val=float(np.mean([trial.user_attrs["val"] for trial in mine])),
                    gate=np.array([trial.user_attrs["gate"] for trial in mine]),
                    trainings=tuple(mine),
                )
            )
    return sorted(found, key=lambda finalist: -finalist.mean)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyReport:
    """All that the report tells of; the last four are known once there is a winner."""

    name: str
    space: Space
    search: SearchConfig
    trials: Sequence[Trial]
    confirmed: Sequence[Trial]  # all confirmations
    finalists: Sequence[Finalist]  # with all their confirmations, the best first
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what some values name
    command: str = ""  # trains the winner again
    winner: str = ""  # the address of its model
    importances: Mapping[str, float] = dataclasses.field(default_factory=dict)  # see `plots`
    dropped: int = 0  # how many trials' models `keep` has deleted

    @property
    def done(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.finished]

    @property
    def best(self) -> Trial | None:
        return next(iter(best_trials(self.trials)), None)

    @property
    def defaults(self) -> Finalist | None:
        return next((one for one in self.finalists if one.number == DEFAULTS), None)

    @functools.cached_property
    def comparisons(self) -> dict[int, Comparison]:
        """Of each finalist with train's defaults, all intervals together at 95 % (Bonferroni)."""
        if (defaults := self.defaults) is None:
            return {}
        others = [one for one in self.finalists if one is not defaults]
        spread = seed_spread([one.gate for one in [defaults, *others]])
        level = 1 - (1 - _LEVEL) / max(1, len(others))
        return {one.number: compare(one.gate, defaults.gate, spread, level) for one in others}

    def verdict(self) -> str:
        """Say what the search is worth, in one or two sentences."""
        sentences = _TEMPLATES.get_template("sentences.jinja").make_module(self._figures())
        return line(sentences.verdict())  # type: ignore[attr-defined]  # one of its macros

    def markdown(self) -> str:
        return _TEMPLATES.get_template("study.md.jinja").render(self._figures())

    def _figures(self) -> dict[str, Any]:
        """Return what the templates show, by the names they use."""
        names = list(self.space)
        lost = [t for t in [*self.trials, *self.confirmed] if t.state == "lost"]
        pruned = [trial for trial in self.trials if trial.state == "pruned"]
        return {
            "report": self,
            "names": names,
            "values": lambda params: [
                self.files.get(str(params[name])) or format_value(params[name]) for name in names
            ],
            "complete": [trial for trial in self.trials if trial.state == "complete"],
            "confirmed": [trial for trial in self.confirmed if trial.finished],
            "epochs_saved": sum(self.search.trial_epochs - trial.reports for trial in pruned),
            "lost": len(lost),
            "stopped": sum(bool(trial.user_attrs.get("stopped")) for trial in lost),
        }


def best_trials(trials: Iterable[Trial], number: int = 1) -> list[Trial]:
    """Return the trials with the highest validation Dice, no parameters twice."""
    best: list[Trial] = []
    complete = [trial for trial in trials if trial.state == "complete"]
    for trial in sorted(complete, key=lambda t: (-(t.value or 0.0), t.number)):
        if len(best) < number and trial.params not in [other.params for other in best]:
            best.append(trial)
    return best


def trial_line(trial: Trial, trials: Sequence[Trial], total: int) -> str:
    """Return the line of a trial that has ended, one of `trials`, of which `total` are wanted."""
    done = sum(one.finished and one.ended <= trial.ended for one in trials)
    best = [f"best {one.value:.3f}: trial {one.number}" for one in best_trials(trials)]
    return (
        f"Trial {trial.number}: {format_params(trial.params)}: {_end(trial, 'Dice')}  "
        f"[{done}/{total}; {best[0] if best else 'none complete yet'}]"
    )


def confirmation_line(trial: Trial, trials: Sequence[Trial]) -> str:
    """Return the line of a confirmation that has ended, one of `trials`."""
    label, seed = trial.user_attrs["plan"]["label"], trial.params["seed"]
    done = f"{sum(one.finished for one in trials)}/{num_enqueued(trials)}"
    return f"Confirming {label}, seed {seed}: {_end(trial, 'gate Dice')}  [{done}]"


def num_enqueued(confirmations: Sequence[Trial]) -> int:
    """Return how many different trainings were enqueued in a study of confirmations."""
    return sum("retry_of" not in trial.user_attrs for trial in confirmations)


def _end(trial: Trial, score: str) -> str:
    value = f"{trial.value or 0.0:.3f}"
    how = {
        "complete": f"{score} {value}",
        "pruned": f"pruned after epoch {trial.reports} at {value}",
        "failed": f"failed: {trial.user_attrs.get('failure')}",
    }
    return f"{how.get(trial.state, 'lost with its process; tried again')}, {trial.seconds:.0f} s"


def _interval(comparison: Comparison) -> str:
    return f"{comparison.difference:+z.3f} ({comparison.low:+z.3f} to {comparison.high:+z.3f})"


_TEMPLATES = environment(
    Path(__file__).parent / "templates",
    {
        "interval": _interval,
        "minutes": lambda trials: f"{sum(trial.seconds for trial in trials) / 60:.1f}",
        "percent": "{:.0%}".format,
    },
)
