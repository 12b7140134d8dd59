"""Optuna's plots, and what is added to them."""

import re

import matplotlib
import optuna
import pytest

from segmentation.tuning import plots


def train(trial: optuna.Trial) -> float:
    trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    trial.suggest_categorical("loss", ["bce", "dice"])
    trial.report(0.5 + trial.number / 100, 1)
    if trial.number % 2:
        raise optuna.TrialPruned
    return 0.7 + trial.number / 100


@pytest.mark.parametrize(("trials", "complete"), [(6, 3), (8, 4)])
def test_pruned_trials_are_marked_and_few_tell_no_importance(trials: int, complete: int) -> None:
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(train, n_trials=trials)
    styled = dict(matplotlib.rcParams)
    page, pictures = plots.html_page(study, "a study"), plots.pictures(study)
    assert dict(matplotlib.rcParams) == styled  # which a notebook draws with
    numbers = list(range(1, trials, 2))
    values = [0.5 + number / 100 for number in numbers]
    marked = re.findall(r'"name":"pruned".*?"x":(\[.*?\]),.*?"y":(\[.*?\])', page)
    assert [y for _, y in marked] == [str(values).replace(" ", "")] * 3
    assert marked[0][0] == str(numbers).replace(" ", "")
    enough = complete >= 4
    assert ({"importances", "contour", "parallel"} <= set(pictures)) is enough
    assert {"history", "slices", "timeline"} <= set(pictures)
    assert bool(plots.importances(study)) is enough
    assert (f"<p>{complete} trials are complete" in page) is not enough
