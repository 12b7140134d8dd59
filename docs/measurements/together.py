"""How far apart the curves of one process and of two are, over a training of any length.

python docs/measurements/together.py DATA EPOCHS PRECISION      in an empty folder

The same training, by one process, by two, and by one with another seed: what lies between the last
two is what chance does to a training anyhow.
"""

import sys
from pathlib import Path

import mlflow

from tests.helpers.programs import Program, entry_command

_FIGURES = ("train/loss", "val/loss", "val/dice", "val/accuracy")


def curves(program: Program) -> dict[str, list[float]]:
    """Return each figure of the newest run, an epoch a value."""
    client = mlflow.MlflowClient(program.store)
    (run, *_) = client.search_runs(["0"])
    histories = {name: client.get_metric_history(run.info.run_id, name) for name in _FIGURES}
    return {name: [point.value for point in points] for name, points in histories.items()}


def main() -> None:
    """Print the largest distances."""
    data, epochs, precision = sys.argv[1:]
    here = Path.cwd()
    program = Program(here / "work", here / "cache")
    found = []
    for processes, seed in ((1, 0), (2, 0), (1, 1)):
        options = {"epochs": epochs, "precision": precision, "processes": processes, "seed": seed}
        done = program.run(*entry_command("train", **options, data=data))
        if done.returncode:
            raise SystemExit(done.stderr)
        found.append(curves(program))
    one, two, other = found
    marks = sorted({1, 2, 5, 10, 20, 50, 100, int(epochs)})
    for name in _FIGURES:
        told = [
            f"{epoch}: {abs(one[name][epoch - 1] - two[name][epoch - 1]):.5f} "
            f"({abs(one[name][epoch - 1] - other[name][epoch - 1]):.5f})"
            for epoch in marks
            if epoch <= int(epochs)
        ]
        furthest = max(abs(a - b) for a, b in zip(one[name], two[name], strict=True))
        print(f"{name}, by epoch, and of another seed: {', '.join(told)}; at most {furthest:.5f}")
        print(f"  last: {one[name][-1]:.4f} by one process, {two[name][-1]:.4f} by two")


if __name__ == "__main__":
    main()
