"""What the console and a file of JSON tell of a trial."""

from typing import Any

from segmentation.tuning.space import format_params
from segmentation.tuning.study import Trial


def plain(trial: Trial) -> dict[str, Any]:
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


def trial_line(trial: Trial, done: int, asked: int, best: Trial | None) -> str:
    """Return the line of a trial that has ended."""
    what = {
        "complete": f"Dice {trial.value:.3f}" if trial.value is not None else "",
        "pruned": f"pruned after epoch {trial.reports}"
        + (f" at {trial.value:.3f}" if trial.value is not None else ""),
        "failed": f"failed: {trial.user_attrs.get('failure')}",
    }.get(trial.state, "lost with its process; tried again")
    so_far = f"best {best.value:.3f}: trial {best.number}" if best else "none complete yet"
    return (
        f"Trial {trial.number}: {format_params(trial.params)}: {what}, {trial.seconds:.0f} s  "
        f"[{done}/{asked}; {so_far}]"
    )


def confirmation_line(trial: Trial, done: int, total: int) -> str:
    """Return the line of a confirmation that has ended."""
    label = trial.user_attrs["plan"]["label"]
    what = (
        f"gate Dice {trial.value:.3f}"
        if trial.state == "complete"
        else f"failed: {trial.user_attrs.get('failure')}"
        if trial.state == "failed"
        else "lost with its process; tried again"
    )
    return (
        f"Confirming {label}, seed {trial.params.get('seed')}: {what}, {trial.seconds:.0f} s  "
        f"[{done}/{total}]"
    )
