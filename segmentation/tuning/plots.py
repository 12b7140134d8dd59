"""Optuna's own plots of a study, as one interactive page and as pictures."""

import io
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.importance import FanovaImportanceEvaluator

_FANOVA = FanovaImportanceEvaluator(seed=0)
_DICE = {"target_name": "validation Dice"}
#: For each plot its function in Optuna and its arguments.
_PLOTS: dict[str, tuple[str, dict[str, Any]]] = {
    "history": ("optimization_history", _DICE),
    "importances": ("param_importances", {**_DICE, "evaluator": _FANOVA}),
    "slices": ("slice", _DICE),
    "contour": ("contour", _DICE),
    "parallel": ("parallel_coordinate", _DICE),
    "timeline": ("timeline", {}),
}
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
        return optuna.importance.get_param_importances(study, evaluator=_FANOVA)
    except (ValueError, RuntimeError):
        return {}


def html_page(study: optuna.Study, title: str) -> str:
    """Return one HTML page with all plots; it needs no network."""
    parts: list[str] = []
    for _, figure in _plot(study, _visualization()):
        # The first plot brings the library along, which the others use.
        parts.append(figure.to_html(full_html=False, include_plotlyjs=not parts))
    body = "\n".join(parts) or "<p>Too few trials for plots.</p>"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body>\n{body}\n</body></html>\n"
    )


def pictures(study: optuna.Study) -> dict[str, bytes]:
    """Return each plot as a PNG file, by name."""
    module = _visualization().matplotlib
    from matplotlib import pyplot

    files = {}
    for name, _ in _plot(study, module):
        figure, buffer = pyplot.gcf(), io.BytesIO()
        figure.set_size_inches(9, 5.5)
        figure.savefig(buffer, dpi=110, bbox_inches="tight")
        files[name] = buffer.getvalue()
        pyplot.close("all")
    return files


def _visualization() -> Any:
    import segmentation.utils.figures  # noqa: F401  # before Optuna imports matplotlib

    return optuna.visualization


def _plot(study: optuna.Study, module: Any) -> Iterator[tuple[str, Any]]:
    """Yield each plot that the study has enough trials for."""
    for name, (function, options) in _PLOTS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is experimental, that trials are few
            try:
                plot = getattr(module, f"plot_{function}")(study, **options)
            except (ValueError, RuntimeError):
                continue
        yield name, plot
