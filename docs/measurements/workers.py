"""Runs one fixed list of trials with one worker of two threads and with two of one thread each.

PYTHONPATH=REPOSITORY python docs/measurements/workers.py PATH     in a new folder
"""

import sys
import time

from common import default_search

from segmentation.search import search
from segmentation.search_config import SearchConfig
from segmentation.tracking.store import connect

WIDTHS = (8, 16, 24, 32, 8, 16, 24, 32)


def main() -> None:
    """Search twice and tell the ratio."""
    data = sys.argv[1]
    connect()
    make = default_search(data)
    rates: dict[int, list[float]] = {}
    for workers in (1, 2, 1, 2):
        name = f"workers-{workers}-{time.time():.0f}"
        asked = SearchConfig(
            trials=len(WIDTHS),
            trial_epochs=8,
            confirm=0,
            pruner="none",
            workers=workers,
            study=name,
        )
        searching = make(asked)
        study = searching.study()
        with study.locked():
            study.plan([({"width": w, "lr": 1e-3 * (1 + i)}, {}) for i, w in enumerate(WIDTHS)])
        search(searching, lambda line: None)
        trials = study.trials()
        began = min(trial.began for trial in trials if trial.began)
        ended = max(trial.ended for trial in trials if trial.ended)
        seconds = (ended - began).total_seconds()
        rates.setdefault(workers, []).append(3600 * len(trials) / seconds)
        print(
            f"{workers} worker(s) of {searching.threads()} thread(s): {seconds:.0f} s", flush=True
        )
    for workers, found in rates.items():
        print(f"{workers}: {', '.join(f'{rate:.0f}' for rate in found)} trials an hour")
    ratio = sum(rates[2]) / sum(rates[1])
    print(f"two workers of one thread against one of two: {ratio:.2f} times the trials an hour")


if __name__ == "__main__":
    main()
