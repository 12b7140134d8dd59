"""Optuna's own plots of a study, as one interactive page and as pictures."""

import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import optuna

_PLOTS = (
    ("history", "optimization_history"),
    ("importances", "param_importances"),
    ("slices", "slice"),
    ("contour", "contour"),
    ("parallel", "parallel_coordinate"),
    ("timeline", "timeline"),
)

#: Of fewer complete trials nothing is said about importances.
_ENOUGH = 4


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the share of the variance of the value that each parameter explains (fANOVA).

    F. Hutter, H. Hoos, K. Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
    Importance", ICML 2014. Empty where too few trials are complete, or all have one value.
    """
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if len(complete) < _ENOUGH:
        return {}
    try:
        found = optuna.importance.get_param_importances(study, evaluator=_evaluator())
        return {name: float(share) for name, share in found.items()}
    except (ValueError, RuntimeError):
        return {}


def _evaluator() -> optuna.importance.BaseImportanceEvaluator:
    """Return the one that text and plots share."""
    return optuna.importance.FanovaImportanceEvaluator(seed=0)


def _options(name: str) -> dict[str, Any]:
    """Return what a plot is to be drawn with."""
    if name == "timeline":
        return {}
    named = {"target_name": "validation Dice"}
    return {**named, "evaluator": _evaluator()} if name == "importances" else named


def page(study: optuna.Study, title: str) -> str:
    """Return one HTML page with all plots; it needs no network."""
    parts: list[str] = []
    for _, figure in _each(study, optuna.visualization):
        # The first plot brings the library along, which the others use.
        parts.append(figure.to_html(full_html=False, include_plotlyjs=not parts))
    body = "\n".join(parts) or "<p>Too few trials for plots.</p>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body>\n{body}\n</body></html>\n"
    )


def pictures(study: optuna.Study) -> dict[str, bytes]:
    """Return each plot as a PNG file, by name."""
    import matplotlib

    matplotlib.use("Agg")  # no window; Optuna draws by pyplot
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as drawn

    files = {}
    for name, _ in _each(study, drawn):
        figure = pyplot.gcf()
        figure.set_size_inches(9, 5.5)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=110, bbox_inches="tight")
        files[name] = buffer.getvalue()
        pyplot.close("all")
    return files


def _each(study: optuna.Study, module: Any) -> Iterator[tuple[str, Any]]:
    """Draw each plot that the study has enough trials for."""
    for name, function in _PLOTS:
        plot: Callable[..., Any] = getattr(module, f"plot_{function}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is experimental, that trials are few
            try:
                drawn = plot(study, **_options(name))
            except (ValueError, RuntimeError):
                continue
        yield name, drawn
