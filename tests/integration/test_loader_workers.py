"""Batches that loader processes prepare: errors without a traceback."""

import multiprocessing
import shutil
from pathlib import Path

import pytest

from segmentation.config.training import TrainingConfig
from segmentation.data.loader import BatchLoader
from segmentation.errors import DataError, explain
from tests.unit.data.test_loader import loaded


def test_loader_processes_say_without_a_traceback_what_has_gone(
    cache: Path, own_pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmentation.data.dataset.IN_MEMORY", 0)
    parts = loaded(own_pets)
    shutil.rmtree(cache)
    shutil.rmtree(own_pets / "images")
    config = TrainingConfig(batch_size=5, loader_workers=1)
    with pytest.raises(DataError, match=r"^\S.*\.jpg: No such file .*usable when this began$"):
        list(BatchLoader(parts["train"], parts["val"], config).epoch(1))


def test_a_loader_process_that_was_killed_is_told_with_what_helps(pets: Path) -> None:
    parts = loaded(pets)
    batches = BatchLoader(
        parts["train"], parts["val"], TrainingConfig(batch_size=1, loader_workers=1)
    ).epoch(1)
    assert not next(batches).image.is_shared()  # type: ignore[no-untyped-call]  # containers have little
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(RuntimeError) as raised:
        list(batches)
    assert "lower loader_workers, or start the container with --shm-size" in str(
        explain(raised.value)
    )
