"""What a search found: its report in Markdown, its lines on the console, its trials as JSON."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from segmentation.config.training import Config
from segmentation.metrics.significance import Comparison, compare, seed_spread
from segmentation.tuning.space import Space, format_params, format_value
from segmentation.tuning.study import Trial
from segmentation.utils.markdown import row, rule

#: Stands for train's defaults among the numbers of the trials that are confirmed.
DEFAULTS = -1

_LEADERS = 8
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finalist:
    """The settings of one of the best trials, or train's defaults, after their confirmations.

    Attributes:
        number: of the trial that proposed them; `DEFAULTS` for train's defaults.
        label: in words.
        params: of those that were searched.
        val: mean Dice over seeds on the validation images.
        gate: float64 (seeds, images), Dice of each training on each gate image.
        trainings: the confirmations, in the order of `gate`.
    """

    number: int
    label: str
    params: Mapping[str, Any]
    val: float
    gate: np.ndarray[Any, np.dtype[np.float64]]
    trainings: tuple[Trial, ...]

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
    """Gather the finished confirmations of some settings, the best first.

    Args:
        confirmed: all trials of the study of confirmations.
        numbers: the `Finalist.number`s that count now.
    """
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


def compare_with_defaults(found: Sequence[Finalist]) -> dict[int, Comparison]:
    """Compare finalists with train's defaults, all intervals together at 95 % (Bonferroni).

    Empty where one of them has one training alone: the noise of the seeds is then not known.
    """
    defaults = next((one for one in found if one.number == DEFAULTS), None)
    if defaults is None or min(len(one.gate) for one in found) < 2:
        return {}
    others = [one for one in found if one is not defaults]
    spread = seed_spread([one.gate for one in [defaults, *others]])
    level = 1 - (1 - _LEVEL) / max(1, len(others))
    return {one.number: compare(one.gate, defaults.gate, spread, level) for one in others}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyReport:
    """All that the report tells of.

    Attributes:
        name: the study's.
        space: what was searched.
        trials: of the search.
        total: how many trials were asked for.
        epochs: of a trial.
        pruner: which trials were stopped early.
        confirmed: all confirmations.
        finalists: those with all their confirmations, and train's defaults, the best first.
        config: the winner's settings, None before there is one.
        winner: the address of its model, empty before there is one.
        importances: share of the variance that each parameter explains.
        disk: bytes of all artifacts, None while unknown.
        dropped: how many trials' models `keep` has deleted.
    """

    name: str
    space: Space
    trials: Sequence[Trial]
    total: int
    epochs: int
    pruner: str
    confirmed: Sequence[Trial]
    finalists: Sequence[Finalist]
    config: Config | None = None
    winner: str = ""
    importances: Mapping[str, float] = dataclasses.field(default_factory=dict)
    disk: int | None = None
    dropped: int = 0

    @property
    def done(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.finished]

    @property
    def comparisons(self) -> dict[int, Comparison]:
        """Of each finalist with train's defaults."""
        return compare_with_defaults(self.finalists)

    def verdict(self) -> str:
        """Say what the search is worth, in one or two sentences."""
        if not self.finalists:
            return self._unconfirmed()
        first, *others = self.finalists
        rests = (
            f"mean over {first.gate.shape[1]} gate images, which trained nothing and chose no "
            f"epoch, and {len(first.gate)} new seeds"
        )
        if first.number == DEFAULTS:
            text = (
                f"No finalist beats train's defaults: they lead with a Dice of {first.mean:.3f} "
                f"({rests})."
            )
            if not others:
                return text
            compared = _difference(self.comparisons[others[0].number])
            return f"{text} The best finalist, {others[0].label}, is {compared}."
        text = f"{first.label.capitalize()} leads with a Dice of {first.mean:.3f}"
        defaults = next((one for one in others if one.number == DEFAULTS), None)
        if defaults is None:
            return f"{text} ({rests})."
        compared = _difference(self.comparisons[first.number])
        return f"{text} against {defaults.mean:.3f} for train's defaults ({rests}): {compared}."

    def _unconfirmed(self) -> str:
        best, done = best_of(self.trials), len(self.done)
        if best is None:
            return f"No trial is complete yet ({done} of {self.total} have ended)."
        confirmed = sum(trial.finished for trial in self.confirmed)
        return (
            f"Best of {done} trials: trial {best.number} with a validation Dice of "
            f"{best.value:.3f}. The best of many trials on few images looks better than it is: "
            + (f"{confirmed} confirmations are done." if confirmed else "nothing is confirmed.")
        )

    def markdown(self) -> str:
        """Return the whole report, as `templates/study.md.jinja` arranges it."""
        environment = Environment(  # noqa: S701 - this is no HTML
            loader=PackageLoader("segmentation.tuning"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        environment.filters.update(
            row=lambda cells: row([str(cell) for cell in cells]),
            rule=rule,
            dice="{:.3f}".format,
            interval=_interval,
        )
        complete = [trial for trial in self.trials if trial.state == "complete"]
        return environment.get_template("study.md.jinja").render(
            report=self,
            names=list(self.space),
            level=f"{_LEVEL:.0%}",
            leaders=sorted(complete, key=lambda trial: -(trial.value or 0.0))[:_LEADERS],
        )

    def values(self, params: Mapping[str, Any]) -> list[str]:
        """Return the values of the parameters that were searched."""
        return [format_value(params[name]) for name in self.space]

    def command(self) -> str:
        """Return the command that trains the winner again, or nothing."""
        return train_command(self.config) if self.config else ""

    def notes(self) -> list[str]:
        """Tell of the trials that did not come to their end."""
        notes = []
        if pruned := [trial for trial in self.trials if trial.state == "pruned"]:
            each = ", ".join(f"{trial.number} (epoch {trial.reports})" for trial in pruned)
            notes.append(f"Pruned ({self.pruner}): {each}.")
        for trial in self.trials:
            if trial.state == "failed":
                notes.append(f"Trial {trial.number} failed: {trial.user_attrs['failure']}.")
        for trial in self.confirmed:
            if trial.state == "failed":
                notes.append(
                    f"A confirmation of {trial.user_attrs['plan']['label']} failed, so it is not "
                    f"compared: {trial.user_attrs['failure']}."
                )
        lost = [t for t in [*self.trials, *self.confirmed] if t.state == "lost"]
        stopped = sum(bool(trial.user_attrs.get("stopped")) for trial in lost)
        for number, how in ((stopped, "stopped"), (len(lost) - stopped, "lost with a process")):
            if number:
                notes.append(f"Trainings that were {how}, and are not counted: {number}.")
        return notes

    def cost(self) -> str:
        """Say what the search has taken."""
        if not self.done:
            return ""
        saved = sum(self.epochs - t.reports for t in self.done if t.state == "pruned")
        whole = len(self.done) * self.epochs
        confirmed = sum(trial.seconds for trial in self.confirmed if trial.finished)
        text = (
            f"Cost: {len(self.done)} trials, {saved / whole:.0%} of their {whole} epochs saved by "
            f"pruning, {sum(trial.seconds for trial in self.done) / 60:.1f} min of the workers' "
            "time"
        )
        if confirmed:
            text += f"; confirmations {confirmed / 60:.1f} min"
        if self.disk is not None:
            text += f"; {self.disk / 1e6:.0f} MB on disk"
            if self.dropped:
                text += f", the models of losing trials ({self.dropped}) deleted"
        return f"{text}."

    def importance(self) -> str:
        """Say which parameters matter."""
        if not self.importances:
            return ""
        order = sorted(self.importances.items(), key=lambda item: -item[1])
        complete = sum(trial.state == "complete" for trial in self.trials)
        return (
            f"Of the spread of the validation Dice between the {complete} complete trials, fANOVA "
            f"gives {', '.join(f'`{name}` {share:.0%}' for name, share in order)}; with so few "
            "trials that is a hint."
        )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the highest validation Dice."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return max(complete, key=lambda t: (t.value or 0.0, -t.number), default=None)


def train_command(config: Config) -> str:
    """Return the command that trains with these settings."""
    words = ["mlflow run . -e train --env-manager local"]
    for _, setting, value in config.items():
        if value != setting.default:
            exact = repr(value) if isinstance(value, float) else value
            words.append(f"-P {shlex.quote(f'{setting.option}={exact}')}")
    return " ".join(words)


def trial_json(trial: Trial) -> dict[str, Any]:
    """Return a trial as JSON takes it."""
    return {
        "number": trial.number,
        "state": trial.state,
        "params": trial.params,
        "value": trial.value,
        "epochs": trial.reports,
        "seconds": trial.seconds,
        "run": trial.user_attrs.get("run"),
        "failure": trial.user_attrs.get("failure"),
    }


def trial_line(trial: Trial, done: int, total: int, best: Trial | None) -> str:
    """Return the line of a trial that has ended."""
    end = _end(trial, f"Dice {trial.value:.3f}" if trial.value is not None else "")
    best_yet = f"best {best.value:.3f}: trial {best.number}" if best else "none complete yet"
    return (
        f"Trial {trial.number}: {format_params(trial.params)}: {end}, {trial.seconds:.0f} s  "
        f"[{done}/{total}; {best_yet}]"
    )


def confirmation_line(trial: Trial, done: int, total: int) -> str:
    """Return the line of a confirmation that has ended."""
    end = _end(trial, f"gate Dice {trial.value:.3f}" if trial.value is not None else "")
    return (
        f"Confirming {trial.user_attrs['plan']['label']}, seed {trial.params['seed']}: {end}, "
        f"{trial.seconds:.0f} s  [{done}/{total}]"
    )


def _end(trial: Trial, complete: str) -> str:
    """Say how a trial ended, given how a complete one is described."""
    if trial.state == "complete":
        return complete
    if trial.state == "pruned":
        at = f" at {trial.value:.3f}" if trial.value is not None else ""
        return f"pruned after epoch {trial.reports}{at}"
    if trial.state == "failed":
        return f"failed: {trial.user_attrs['failure']}"
    return "lost with its process; tried again"


def _interval(comparison: Comparison) -> str:
    return f"{comparison.difference:+.3f} ({comparison.low:+.3f} to {comparison.high:+.3f})"


def _difference(comparison: Comparison) -> str:
    return f"{_interval(comparison)}, {comparison.verdict}"
