"""Optuna's own plots of a study, as one interactive page and as pictures."""

import io
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

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
#: Of fewer complete trials nothing is said about importances, nor drawn of what lies between them.
_ENOUGH = 4
_OF_MANY = ("importances", "contour", "parallel")
#: Where Optuna leaves pruned trials out: they are marked, at the value that was reported last.
_MARKED = ("history", "slices")


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the share of the variance of the value that each parameter explains (fANOVA).

    F. Hutter, H. Hoos, K. Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter
    Importance", ICML 2014. Empty where too few trials are complete, or all have one value.
    """
    if len(_trials(study, TrialState.COMPLETE)) < _ENOUGH:
        return {}
    try:
        return optuna.importance.get_param_importances(study, evaluator=_FANOVA)
    except (ValueError, RuntimeError):
        return {}


def html_page(study: optuna.Study, title: str) -> str:
    """Return one HTML page with all plots; it needs no network."""
    parts, pruned = list[str](), _trials(study, TrialState.PRUNED)
    for name, figure in _plot(study, _visualization()):
        marked = pruned and name in _MARKED
        for number, axis in enumerate(figure.select_xaxes() if marked else ()):
            which = str(number + 1) if number else ""
            x, y = _points(pruned, axis.title.text)
            mark = {"color": "crimson", "symbol": "x"}
            place = {"xaxis": f"x{which}", "yaxis": f"y{which}", "showlegend": not number}
            figure.add_scatter(x=x, y=y, mode="markers", marker=mark, name="pruned", **place)
        # The first plot brings the library along, which the others use.
        parts.append(figure.to_html(full_html=False, include_plotlyjs=not parts))
    if (complete := len(_trials(study, TrialState.COMPLETE))) < _ENOUGH:
        parts.append(
            f"<p>{complete} trials are complete: importances, and what lies between them, are not "
            f"drawn, since that takes {_ENOUGH}.</p>"
        )
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>'
        f"<body>\n{body}\n</body></html>\n"
    )


def pictures(study: optuna.Study) -> dict[str, bytes]:
    """Return each plot as a PNG file, by name."""
    from segmentation.utils.figures import default_style  # before Optuna imports matplotlib

    with default_style():  # Optuna sets another one for good
        return _pictures(study)


def _pictures(study: optuna.Study) -> dict[str, bytes]:
    from matplotlib import pyplot

    files, before = {}, set(pyplot.get_fignums())
    pruned = _trials(study, TrialState.PRUNED)
    for name, drawn in _plot(study, optuna.visualization.matplotlib):
        for axes in np.atleast_1d(drawn) if pruned and name in _MARKED else ():
            x, y = _points(pruned, axes.get_xlabel())
            x = [repr(one) if isinstance(one, str) else one for one in x]  # as Optuna writes them
            points = axes.scatter(x, y, marker="x", color="crimson", label="pruned")
            axes.autoscale(axis="x")
            axes.legend(handles=[*axes.get_lines(), points])
        figure, buffer = pyplot.gcf(), io.BytesIO()
        figure.set_size_inches(9, 5.5)
        figure.savefig(buffer, dpi=110, bbox_inches="tight")
        files[name] = buffer.getvalue()
    for number in set(pyplot.get_fignums()) - before:  # others are of a notebook
        pyplot.close(number)
    return files


def _points(trials: list[FrozenTrial], axis: str) -> tuple[list[Any], list[float | None]]:
    """Return x and y of trials on the axis of a parameter, or of their numbers."""
    return [t.params.get(axis, t.number) for t in trials], [t.value for t in trials]


def _trials(study: optuna.Study, state: TrialState) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(state,))


def _visualization() -> Any:
    import segmentation.utils.figures  # noqa: F401  # before Optuna imports matplotlib

    return optuna.visualization


def _plot(study: optuna.Study, module: Any) -> Iterator[tuple[str, Any]]:
    """Yield each plot that the study has enough trials for."""
    many = len(_trials(study, TrialState.COMPLETE)) >= _ENOUGH
    for name, (function, options) in _PLOTS.items():
        if name in _OF_MANY and not many:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is experimental, that trials are few
            try:
                plot = getattr(module, f"plot_{function}")(study, **options)
            except (ValueError, RuntimeError):
                continue
        yield name, plot
