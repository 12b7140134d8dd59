"""What a search found, in Markdown: for the page of its run, and for the console."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from segmentation.config.training import Config
from segmentation.metrics.significance import Comparison, compare, seed_spread
from segmentation.tuning.space import Space
from segmentation.tuning.study import Trial
from segmentation.utils.markdown import row, rule

_LEADERS = 8
_LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A finalist, or train's defaults, after its confirmations.

    Attributes:
        number: of the trial that proposed it; `DEFAULTS` for train's defaults.
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
    def mean(self) -> float:
        """Mean Dice over seeds and gate images."""
        return float(self.gate.mean())

    @property
    def best(self) -> Trial:
        """The training with the highest Dice on the gate split."""
        return self.trainings[int(self.gate.mean(axis=1).argmax())]


def candidates(confirmed: Sequence[Trial], numbers: Sequence[int]) -> list[Candidate]:
    """Gather the finished confirmations of some candidates, the best first.

    Args:
        confirmed: all trials of the study of confirmations.
        numbers: the candidates that count now.
    """
    found = []
    for number in numbers:
        mine = sorted(
            (t for t in confirmed if t.state == "complete" and t.params["candidate"] == number),
            key=lambda trial: trial.params["seed"],
        )
        if mine:
            plan = mine[0].user_attrs["plan"]
            found.append(
                Candidate(
                    number=number,
                    label=plan["label"],
                    params=plan["params"],
                    val=float(np.mean([trial.user_attrs["val"] for trial in mine])),
                    gate=np.array([trial.user_attrs["gate"] for trial in mine]),
                    trainings=tuple(mine),
                )
            )
    return sorted(found, key=lambda candidate: -candidate.mean)


def compare_with(defaults: Candidate, others: Sequence[Candidate]) -> dict[int, Comparison]:
    """Compare candidates with train's defaults, all intervals together at 95 % (Bonferroni).

    Empty where a candidate has one training alone: the noise of the seeds is then not known.
    """
    if min(len(one.gate) for one in [defaults, *others]) < 2:
        return {}
    spread = seed_spread([defaults.gate, *(other.gate for other in others)])
    level = 1 - (1 - _LEVEL) / max(1, len(others))
    return {o.number: compare(o.gate, defaults.gate, spread, level) for o in others}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyReport:
    """All that the report tells of.

    Attributes:
        name: the study's.
        space: what was searched.
        trials: of the search.
        asked: how many trials were asked for.
        epochs: of a trial.
        pruner: which trials were stopped early.
        confirmed: of the confirmations.
        candidates: finalists and defaults with finished confirmations, the best first.
        comparisons: of each finalist with the defaults.
        config: the winner's settings, None before there is one.
        winner: the address of its model, empty before there is one.
        importances: share of the variance that each parameter explains.
        disk: bytes of all artifacts, None while unknown.
        dropped: how many trials' models `keep` has deleted.
    """

    name: str
    space: Space
    trials: Sequence[Trial]
    asked: int
    epochs: int
    pruner: str
    confirmed: Sequence[Trial]
    candidates: Sequence[Candidate]
    comparisons: Mapping[int, Comparison]
    config: Config | None = None
    winner: str = ""
    importances: Mapping[str, float] = dataclasses.field(default_factory=dict)
    disk: int | None = None
    dropped: int = 0

    def verdict(self) -> str:
        """Say what the search is worth, in one or two sentences."""
        done = [trial for trial in self.trials if trial.finished]
        if not self.candidates:
            best = best_of(done)
            if best is None:
                return f"No trial is complete yet ({len(done)} of {self.asked} have ended)."
            confirmed = sum(trial.finished for trial in self.confirmed)
            return (
                f"Best of {len(done)} trials: trial {best.number} with a validation Dice of "
                f"{best.value:.3f}. The best of many trials on few images looks better than it is: "
                + (f"{confirmed} confirmations are done." if confirmed else "nothing is confirmed.")
            )
        first = self.candidates[0]
        defaults = next((c for c in self.candidates if c.number < 0), None)
        rests = (
            f"mean over {first.gate.shape[1]} gate images, which trained nothing and chose no "
            f"epoch, and {len(first.gate)} new seeds"
        )
        if defaults is None:
            return f"{_name(first)} leads with a Dice of {first.mean:.3f} ({rests})."
        if first is defaults:
            second = self.candidates[1] if len(self.candidates) > 1 else None
            tail = ""
            if second is not None:
                comparison = self.comparisons[second.number]
                tail = f" The best finalist, {second.label}, is {_difference(comparison)}."
            return (
                f"No finalist beats train's defaults: they lead with a Dice of {first.mean:.3f} "
                f"({rests}).{tail}"
            )
        comparison = self.comparisons[first.number]
        return (
            f"{_name(first)} leads with a Dice of {first.mean:.3f} against {defaults.mean:.3f} for "
            f"train's defaults ({rests}): {_difference(comparison)}."
        )

    def markdown(self) -> str:
        """Return the whole report."""
        parts = [f"**{self.verdict()}**", self._command(), self._confirmations()]
        parts += [self._leaders(), self._rest(), self._cost(), self._importances()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def command(self) -> str:
        """Return the command that trains the winner again, or nothing."""
        return train_command(self.config) if self.config else ""

    def _command(self) -> str:
        if not self.config:
            return ""
        # A line a parameter: the page does not wrap what is long, and pushes the rest off it.
        shown = self.command().replace(" -P ", " \\\n  -P ")
        return f"Registered as `{self.winner}`. Train it again:\n\n```bash\n{shown}\n```"

    def _confirmations(self) -> str:
        if not self.candidates:
            return ""
        names = list(self.space)
        lines = [
            "### Confirmed",
            "",
            "Each trained at full length with new seeds, and scored on the gate images, which "
            "trained nothing and chose no epoch. They choose among these candidates, though: the "
            "figure of the first is rather high as a forecast.",
            "",
            row(["", *names, "gate Dice", "by seed", "against the defaults", "val Dice"]),
            rule(len(names) + 5),
        ]
        for one in self.candidates:
            comparison = self.comparisons.get(one.number)
            by_seed = ", ".join(f"{dice:.3f}" for dice in one.gate.mean(axis=1))
            against = (
                f"{comparison.difference:+.3f} ({comparison.low:+.3f} to {comparison.high:+.3f})"
                if comparison
                else "-"
            )
            params = [_value(one.params[name]) for name in names]
            lines.append(
                row([one.label, *params, f"{one.mean:.3f}", by_seed, against, f"{one.val:.3f}"])
            )
        if self.comparisons:
            some = next(iter(self.comparisons.values()))
            lines += [
                "",
                f"In brackets {_LEVEL:.0%} intervals over images and seeds, paired over "
                f"{some.images} images"
                + (
                    ", so wide that all of them hold at once." if len(self.comparisons) > 1 else "."
                ),
            ]
        return "\n".join(lines)

    def _leaders(self) -> str:
        complete = [t for t in self.trials if t.state == "complete" and t.value is not None]
        if not complete:
            return ""
        names = list(self.space)
        lines = [
            f"### Leaders of the search ({self.epochs} epochs each, validation Dice)",
            "",
            row(["trial", *names, "val Dice", "seconds"]),
            rule(len(names) + 3),
        ]
        for trial in sorted(complete, key=lambda t: -(t.value or 0.0))[:_LEADERS]:
            params = [_value(trial.params[name]) for name in names]
            lines.append(
                row([str(trial.number), *params, f"{trial.value:.3f}", f"{trial.seconds:.0f}"])
            )
        return "\n".join(lines)

    def _rest(self) -> str:
        said = []
        pruned = [trial for trial in self.trials if trial.state == "pruned"]
        if pruned:
            each = ", ".join(f"{trial.number} (epoch {trial.reports})" for trial in pruned)
            said.append(f"Pruned ({self.pruner}): {each}.")
        for trial in self.trials:
            if trial.state == "failed":
                said.append(f"Trial {trial.number} failed: {trial.user_attrs.get('failure')}.")
        for trial in self.confirmed:
            if trial.state == "failed":
                label = trial.user_attrs["plan"]["label"]
                said.append(
                    f"A confirmation of {label} failed, so it is not compared: "
                    f"{trial.user_attrs.get('failure')}."
                )
        ended = [t for t in [*self.trials, *self.confirmed] if t.state == "lost"]
        stopped = sum(bool(trial.user_attrs.get("stopped")) for trial in ended)
        for number, how in ((stopped, "stopped"), (len(ended) - stopped, "lost with a process")):
            if number:
                said.append(f"Trainings that were {how}, and are not counted: {number}.")
        return "\n".join(f"- {one}" for one in said)

    def _cost(self) -> str:
        done = [trial for trial in self.trials if trial.finished]
        if not done:
            return ""
        saved = sum(self.epochs - t.reports for t in done if t.state == "pruned")
        whole = len(done) * self.epochs
        searched = sum(trial.seconds for trial in done)
        confirmed = sum(trial.seconds for trial in self.confirmed if trial.finished)
        text = (
            f"Cost: {len(done)} trials, {saved / whole:.0%} of their {whole} epochs saved by "
            f"pruning, {searched / 60:.1f} min of the workers' time"
        )
        if confirmed:
            text += f"; confirmations {confirmed / 60:.1f} min"
        if self.disk is not None:
            text += f"; {self.disk / 1e6:.0f} MB on disk"
            if self.dropped:
                text += f", the models of losing trials ({self.dropped}) deleted"
        return text + "."

    def _importances(self) -> str:
        complete = sum(trial.state == "complete" for trial in self.trials)
        if not self.importances:
            return ""
        order = sorted(self.importances.items(), key=lambda item: -item[1])
        told = ", ".join(f"`{name}` {share:.0%}" for name, share in order)
        return (
            f"Of the spread of the validation Dice between the {complete} complete trials, fANOVA "
            f"gives {told}; with so few trials that is a hint."
        )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the complete trial with the highest validation Dice."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return max(complete, key=lambda t: (t.value or 0.0, -t.number), default=None)


def train_command(config: Config) -> str:
    """Return the command that trains with these settings."""
    words = ["mlflow run . -e train --env-manager local"]
    words += [
        f"-P {shlex.quote(f'{setting.option}={_exact(value)}')}"
        for _, setting, value in config.items()
        if value != setting.default
    ]
    return " ".join(words)


def _name(candidate: Candidate) -> str:
    return candidate.label[0].upper() + candidate.label[1:]


def _difference(comparison: Comparison) -> str:
    return (
        f"{comparison.difference:+.3f} ({comparison.low:+.3f} to {comparison.high:+.3f}), "
        f"{comparison.verdict}"
    )


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _exact(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
