"""What is said of a search: its verdict, its report in Markdown, its lines on the console."""

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution

from segmentation.config.search import SearchConfig
from segmentation.tuning.report import DEFAULTS, StudyReport, finalists, trial_line
from segmentation.tuning.study import Trial


def trial(number: int, state: str, value: float | None = None, **attrs: Any) -> Trial:
    return Trial(
        number=number,
        state=state,
        params={"width": 8 * number, "lr": 0.00123},
        value=value,
        reports=2 if state == "pruned" else 8,
        ended=datetime.datetime.max,
        seconds=60,
        user_attrs=attrs,
    )


def confirmation(candidate: int, label: str, dice: float, seed: int) -> Trial:
    plan = {"label": label, "params": {"width": 8, "lr": 0.004}, "seed": seed}
    gate = np.random.default_rng(seed).normal(dice, 0.02, 40)
    made = trial(0, "complete", dice, plan=plan, gate=list(gate), val=0.8)
    made.params.update(candidate=candidate, seed=seed)
    return made


TRIALS = (
    trial(1, "complete", 0.7),
    trial(2, "pruned", 0.5),
    trial(3, "failed", failure="the loss became nan"),
    trial(4, "lost", stopped=True),
    trial(5, "lost"),
    trial(6, "complete", 0.8),
)


def report(
    trials: Sequence[Trial] = TRIALS, dice: Sequence[float] = (), **more: Any
) -> StudyReport:
    """Of trial 6 and train's defaults, as far as the Dice of each is given."""
    who = zip((6, DEFAULTS), ("trial 6", "train's defaults"), dice, strict=False)
    confirmed = [confirmation(*one, seed) for one in who for seed in (1, 2)]
    return StudyReport(
        name="small",
        space={"width": IntDistribution(8, 64), "lr": FloatDistribution(1e-4, 1e-2)},
        search=SearchConfig(trials=7, trial_epochs=8, pruner="halving"),
        trials=trials,
        confirmed=confirmed,
        finalists=finalists(confirmed, [6, DEFAULTS]),
        **more,
    )


def test_the_verdict_says_how_sure_it_is() -> None:
    assert report([]).verdict() == "No trial is complete yet (0 of 7 have ended)."
    assert "trial 6 with a validation Dice of 0.800" in report().verdict()
    assert report().verdict().endswith("nothing is confirmed.")
    assert report(dice=[0.8]).verdict().startswith("Trial 6 leads with a Dice of 0.8")
    assert "against 0.7" in report(dice=[0.9, 0.7]).verdict()
    assert report(dice=[0.9, 0.7]).verdict().endswith(", better.")
    worse = report(dice=[0.7, 0.9]).verdict()
    assert worse.startswith("No finalist beats train's defaults: they lead with a Dice of 0.9")
    assert "The best finalist, trial 6, is -0.2" in worse


def test_the_report_tells_of_every_trial_and_what_the_search_cost() -> None:
    text = report(
        dice=[0.9, 0.7],
        command="mlflow run . -e train -P width=24 -P lr=0.1",
        winner="models:/x/3",
        importances={"lr": 0.3, "width": 0.7},
        dropped=2,
    ).markdown()
    for told in (
        "Registered as `models:/x/3`.",
        "mlflow run . -e train \\\n  -P width=24 \\\n  -P lr=0.1\n```\n\n### Confirmed\n",
        "paired over 40 images.\n\n### Leaders",
        "seconds\u00a0\u00a0|\n|---|---|---|---|---|\n|\u00a06\u00a0\u00a0|\u00a048",
        "- Pruned (halving): 2 (epoch 2).\n- Trial 3 failed: the loss became nan.\n",
        "stopped, and are not counted: 1.\n- Trainings that were lost with a process, and",
        "Cost: 4 trials, 19% of their 32 epochs saved by pruning, 4.0 min of the workers' time; "
        "confirmations 4.0 min; the models of losing trials (2) deleted.\n",
        "2 complete trials, fANOVA gives `width` 70%, `lr` 30%; with so few",
    ):
        assert told in text


def test_a_line_says_how_a_trial_ended() -> None:
    assert trial_line(TRIALS[1], TRIALS[1:2], 7) == (
        "Trial 2: width 16, lr 0.00123: pruned after epoch 2 at 0.500, 60 s  "
        "[1/7; none complete yet]"
    )
    assert "failed: the loss became nan" in trial_line(TRIALS[2], TRIALS, 7)
    assert "lost with its process; tried again" in trial_line(TRIALS[4], TRIALS, 7)
