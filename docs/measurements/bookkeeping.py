"""Measures what surrounds the arithmetic of a search's trials: Optuna, MLflow, a worker's start.

PYTHONPATH=REPOSITORY python docs/measurements/bookkeeping.py PATH     in a new folder

It does in this process what a worker does, with one thread: two trials of default length of each
width in the default space. Everything but training and scoring counts as bookkeeping.
"""

import subprocess
import sys
import time

import torch
from common import default_search, timed

from segmentation.config.search import SearchConfig
from segmentation.tracking.logging import callback
from segmentation.tracking.registry import publish
from segmentation.tracking.store import connect
from segmentation.tracking.summaries import studies
from segmentation.tracking.summaries.gallery import Gallery
from segmentation.workflows import session
from segmentation.workflows.tune import worker as trials

WIDTHS, PER_WORKER = (8, 16, 24, 32, 8, 16, 24, 32), 10
TRIALS = len(WIDTHS)
spent: dict[str, float] = {}


def main() -> None:
    """Run the trials and tell the shares."""
    timed(spent, session, "fit")
    timed(spent, callback.TrackingCallback, "on_fit_start", "in fit")
    timed(spent, callback.TrackingCallback, "on_epoch_end", "in fit")
    timed(spent, callback.TrackingCallback, "on_fit_end", "in fit")
    timed(spent, trials._Pruning, "on_epoch_end", "in fit")
    timed(spent, session, "evaluate", "score")
    timed(spent, Gallery, "add", "in score")
    timed(spent, publish, "pack", "export")

    torch.set_num_threads(1)
    data = sys.argv[1]
    connect()
    start = time.perf_counter()
    code = "import time, segmentation.workflows.tune.worker"
    subprocess.run([sys.executable, "-c", code], check=True)
    make = default_search(data)
    beginning = time.perf_counter() - start  # a new process's imports, and reading the images
    asked = SearchConfig(trials=TRIALS, confirm=0, pruner="none", study=f"books-{time.time():.0f}")
    searching = make(asked)
    study = searching.study()
    with studies.parent_run("bookkeeping", {"study": searching.name}, study.id, None) as run:
        with study.locked():
            study.enqueue([({"width": width, "lr": 2e-3}, {}) for width in WIDTHS])
        start = time.perf_counter()
        worker = trials._Worker(
            searching.job(run, study.id), searching.setup, (), lambda message: None
        )
        worker.work_off(study, "search", lambda: TRIALS)
        whole = time.perf_counter() - start
    arithmetic = (spent["fit"] - spent["in fit"] + spent["score"] - spent["in score"]) / TRIALS
    trial, export, start = whole / TRIALS, spent["export"] / TRIALS, beginning / PER_WORKER
    rest = trial - arithmetic - export
    print(f"a default trial with one thread: {trial:.1f} s, its arithmetic {arithmetic:.1f} s")
    print(f"Optuna and MLflow but for the export: {rest:.2f} s, {rest / trial:.1%}")
    print(f"a worker's start: {beginning:.1f} s; over {PER_WORKER} trials {start:.2f} s each")
    print(f"the export, which a pruned trial does not have: {export:.2f} s, {export / trial:.1%}")
    print(f"together without the export: {(rest + start) / trial:.1%}")


if __name__ == "__main__":
    main()
