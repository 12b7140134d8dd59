"""Trainings that are killed or cut off, and what must be the same afterwards."""

import contextlib
import dataclasses
import glob
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import torch

from segmentation.tracking.registry.loading import load_export
from segmentation.training import checkpoint
from tests.helpers.programs import TINY, Program

#: A training of some seconds, besides start and end.
SHORT = {**TINY, "epochs": "24", "lr": "1e-2", "batch_size": "4"}
#: A checkpoint after every epoch, so that kills meet all kinds of moments.
OFTEN = {"PETSEG_CHECKPOINT_SECONDS": "0"}


@dataclasses.dataclass(frozen=True)
class Ended:
    figures: dict[str, list[tuple[int, float]]]
    steps: dict[str, list[int]]
    weights: dict[str, torch.Tensor]
    pictures: list[tuple[str, bytes]]
    tags: dict[str, str]

    def require_same(self, other: "Ended") -> None:
        """Assert that two trainings are the same to the last bit, point by point."""
        assert self.figures == other.figures
        assert self.steps == other.steps
        assert self.tags == other.tags
        assert [name for name, _ in self.pictures] == [name for name, _ in other.pictures]
        for (name, own), (_, others) in zip(self.pictures, other.pictures, strict=True):
            assert own == others, name
        assert self.weights.keys() == other.weights.keys()
        for name, tensor in self.weights.items():
            assert torch.equal(tensor, other.weights[name]), name


def ended(program: Program) -> Ended:
    """Read what the one training of a store, which is finished, has left."""
    client, run = program.client, program.the_run
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    histories = {
        name: [(point.step, point.value) for point in client.get_metric_history(run_id, name)]
        for name in run.data.metrics
        if not name.startswith("system/")
    }
    (version,) = program.versions()
    assert version.run_id == run_id
    mlflow.set_tracking_uri(program.store)
    model = load_export(f"models:/pet-unet/{version.version}")
    pictures = [item.path for item in client.list_artifacts(run_id, "images")]
    return Ended(
        figures={name: points for name, points in histories.items() if "second" not in name},
        steps={name: [step for step, _ in points] for name, points in histories.items()},
        weights=dict(model.state_dict()),  # type: ignore[attr-defined]
        pictures=sorted(
            (path.partition("+")[0], program.download(run_id, path).read_bytes())
            for path in (*pictures, "val/progress.jpg")
        ),
        tags={name: run.data.tags[name] for name in ("fit.best_epoch", "fit.reason", "promotion")},
    )


@contextlib.contextmanager
def once_there(pattern: Path, act: Callable[[], object]) -> Iterator[None]:
    """Do something from another thread as soon as there is such a file; raise what that raises."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def watch() -> None:
        while not glob.glob(str(pattern)):
            if ended.wait(0.01):
                return
        try:
            act()
        except BaseException as error:
            errors.append(error)
            os.kill(os.getpid(), signal.SIGINT)  # nothing else would end what runs here

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        if errors:
            raise errors[0]


def interrupt(
    program: Program,
    name: str,
    there: Path,
    kind: signal.Signals = signal.SIGINT,
    /,
    **given: object,
) -> "subprocess.CompletedProcess[str]":
    """Run an entry point in this process; send it a signal once a file of a pattern is there."""
    with once_there(there, lambda: os.kill(os.getpid(), kind)):
        return program.entry(name, **OFTEN, **given)


def kept_epoch(path: Path) -> int:
    return int(checkpoint.load(path)["state"]["epoch"])
