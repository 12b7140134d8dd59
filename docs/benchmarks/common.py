"""Running the project's programs in a store and a cache that end with the measurement."""

import contextlib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import mlflow
from mlflow.entities import Run

from tests.helpers.programs import PROJECT, Program, entry_command


@contextlib.contextmanager
def new_program() -> Iterator[Program]:
    with tempfile.TemporaryDirectory(prefix="petseg-benchmark-") as name:
        yield Program(Path(name).resolve() / "work", Path(name).resolve() / "cache")


def run(program: Program, entry: str, **options: object) -> tuple[float, float]:
    """Run an entry point to its end; return when it began and ended, in seconds since 1970."""
    return run_command(program, entry_command(entry, **options))


def run_command(program: Program, command: Sequence[str]) -> tuple[float, float]:
    program.folder.mkdir(exist_ok=True)
    began = time.time()
    done = subprocess.run(
        command,
        cwd=program.folder,
        env=program.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return began, time.time()


def launched(entry: str, **options: object) -> list[str]:
    """Return the command line of `mlflow run` for an entry point."""
    words = [word for option, value in options.items() for word in ("-P", f"{option}={value}")]
    return ["mlflow", "run", str(PROJECT), "-e", entry, "--env-manager", "local", *words]


def newest_run(program: Program) -> Run:
    """Return the run that began last."""
    return mlflow.MlflowClient(program.store).search_runs(["0"], max_results=1)[0]


def images_per_second(program: Program) -> float:
    """Return the median over the epochs of the newest run, less the first, which warms up."""
    client = mlflow.MlflowClient(program.store)
    run_id = newest_run(program).info.run_id
    points = client.get_metric_history(run_id, "train/images_per_second")
    return statistics.median(point.value for point in points[1:])


def text(values: Sequence[float], digits: int = 2) -> str:
    """Say median, lowest and highest."""
    low, median, high = min(values), statistics.median(values), max(values)
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
