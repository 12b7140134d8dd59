"""Trials of a search that end in an hour, by one worker with all threads and by two.

    python -m docs.benchmarks.tuning [TRIALS]

from the repository's root; 8 trials a search unless given, 5 epochs each, in turns 1, 2, 2, 1.
"""

import sys

import mlflow

from docs.benchmarks.common import new_program, run, text

_SEARCH = {"width": 16, "lr": "1e-3..4e-3", "trial_epochs": 5, "confirm": 0, "pruner": "none"}


def trials_per_hour(workers: int, trials: int) -> float:
    with new_program() as program:
        run(program, "tune", data="synthetic", workers=workers, trials=trials, **_SEARCH)
        runs = mlflow.MlflowClient(program.store).search_runs(["0"])
        found = [one.info for one in runs if "mlflow.parentRunId" in one.data.tags]
    took = max(one.end_time for one in found) - min(one.start_time for one in found)
    return 3_600_000.0 * len(found) / float(took)


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    rates: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2, 2, 1):
        rates[workers].append(trials_per_hour(workers, trials))
        print(f"{workers} worker(s): {rates[workers][-1]:.0f} trials an hour")
    pairs = zip(rates[2], rates[1], strict=True)
    print(f"two workers end {text([two / one for two, one in pairs])} times as many as one")


if __name__ == "__main__":
    main()
