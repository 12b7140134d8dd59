"""Loader processes that were killed, as where shared memory is short."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest

from segmentation.config.training import TrainingConfig
from segmentation.data.loader import Batch, BatchLoader
from segmentation.errors import explain
from tests.unit.data.test_loader import loaded


def kill_loaders_and_go_on(batches: Iterator[Batch]) -> None:
    for process in multiprocessing.active_children():
        process.kill()
        process.join()  # else PyTorch's signal handler may find it later, in pytest's own code
    list(batches)


def test_a_loader_process_that_was_killed_is_told_with_what_helps(pets: Path) -> None:
    parts = loaded(pets)
    batches = BatchLoader(
        parts["train"], parts["val"], TrainingConfig(batch_size=1, loader_workers=1)
    ).epoch(1)
    assert not next(batches).image.is_shared()  # type: ignore[no-untyped-call]  # containers have little
    with pytest.raises(RuntimeError) as raised:
        kill_loaders_and_go_on(batches)
    assert "lower loader_workers, or start the container with --shm-size" in str(
        explain(raised.value)
    )
