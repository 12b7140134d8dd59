"""Runs one fixed list of trials without and with a pruner: epochs saved, and what it cost.

PYTHONPATH=REPOSITORY python docs/measurements/pruning.py PATH [PRUNER ...]     in a new folder

The list is drawn once, by chance, from the default space. Each search's winner by validation Dice
is scored on the gate and test images, which chose nothing in a search without confirmation.
"""

import sys
import time

import numpy as np
from common import default_search

from segmentation.config.search import SearchConfig
from segmentation.data.oxford_pets import read_list
from segmentation.data.sources import resolve_source
from segmentation.data.splits import in_gate
from segmentation.evaluation.scoring import evaluate
from segmentation.metrics.significance import Spread, compare
from segmentation.tracking.registry.loading import load
from segmentation.tracking.store import connect
from segmentation.tuning.report import best_of
from segmentation.workflows.tune.search import search

TRIALS = 20


def drawn() -> list[tuple[dict[str, int | float | str], dict[str, str]]]:
    """Return the list of trials."""
    generator = np.random.default_rng(0)
    return [
        (
            {
                "width": int(generator.choice([8, 16, 24, 32])),
                "lr": float(np.exp(generator.uniform(np.log(3e-4), np.log(3e-2)))),
            },
            {},
        )
        for _ in range(TRIALS)
    ]


def main() -> None:
    """Search with each pruner and compare."""
    data, pruners = sys.argv[1], sys.argv[2:] or ["none", "halving"]
    connect()
    make, source = default_search(data), resolve_source(data)
    others = [e for e in read_list(source.root, "trainval") if in_gate(e)]
    others += read_list(source.root, "test")
    scored = {}
    for pruner in pruners:
        asked = SearchConfig(trials=TRIALS, confirm=0, pruner=pruner, study=f"list-{pruner}")  # type: ignore[arg-type]
        searching = make(asked)
        study = searching.study()
        with study.locked():
            study.enqueue(drawn())
        began = time.perf_counter()
        search(searching, print)
        seconds = time.perf_counter() - began
        trials = study.trials()
        best = best_of(trials)
        if best is None:
            sys.exit(f"{pruner}: no trial is complete")
        model = load(f"models:/{best.user_attrs['model']}").model
        evaluation, _ = evaluate("gate and test", model, others, "pet")
        scored[pruner] = evaluation.counts.dice()
        epochs = sum(trial.reports for trial in trials)
        print(
            f"{pruner}: {seconds:.0f} s, {epochs} of {TRIALS * asked.trial_epochs} epochs "
            f"({1 - epochs / TRIALS / asked.trial_epochs:.0%} saved), winner trial {best.number} "
            f"{best.params}, val Dice {best.value:.4f}, gate and test Dice "
            f"{scored[pruner].mean():.4f} ({len(others)} images)"
        )
    no_seeds = Spread(value=0.0, freedom=1)  # the same trials: only the images speak
    for pruner in pruners[1:]:
        found = compare(scored[pruner][None], scored[pruners[0]][None], no_seeds, 0.95)
        print(
            f"{pruner} less {pruners[0]}: {found.difference:+.4f} (95 % over images "
            f"{found.low:+.4f} to {found.high:+.4f})"
        )


if __name__ == "__main__":
    main()
