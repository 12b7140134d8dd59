"""Scores a finished study's confirmed candidates on test.txt and compares them with the defaults.

PYTHONPATH=REPOSITORY python docs/measurements/winner.py STUDY PATH     where `tune` was run
"""

import dataclasses
import sys

import numpy as np

from segmentation.data.oxford_pets import read_list
from segmentation.data.sources import resolve_source
from segmentation.evaluation.scoring import evaluate
from segmentation.tracking.registry.loading import load
from segmentation.tracking.store import connect, studies_folder
from segmentation.tuning.report import candidates, compare_with
from segmentation.tuning.storage import study_location
from segmentation.tuning.study import Study
from segmentation.workflows.tune.job import DEFAULTS, confirmations

name, data = sys.argv[1:]
connect()
root = resolve_source(data).root
study = confirmations(Study(study_location(name, "file", studies_folder(), 10), {}, 0, None))
numbers = sorted({int(trial.params["candidate"]) for trial in study.trials()})
found = candidates(study.trials(), numbers)
examples = read_list(root, "test")
scored = []
for candidate in found:
    dice = []
    for training in candidate.trainings:
        model = load(f"models:/{training.user_attrs['model']}").model
        evaluation, _ = evaluate("test", model, examples, "pet")
        dice.append(evaluation.counts.dice())
    scored.append(dataclasses.replace(candidate, gate=np.array(dice)))
defaults = next(one for one in scored if one.number == DEFAULTS)
others = [one for one in scored if one.number != DEFAULTS]
comparisons = compare_with(defaults, others)
for before, one in zip(found, scored, strict=True):
    line = f"{one.label:16} {dict(one.params)}: gate {before.mean:.4f}, test {one.mean:.4f}"
    if comparison := comparisons.get(one.number):
        line += (
            f", less the defaults {comparison.difference:+.4f} ({comparison.low:+.4f} to "
            f"{comparison.high:+.4f}, {comparison.level:.1%} each)"
        )
    print(line)
