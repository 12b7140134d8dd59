"""One model, several processes: a curve like that of one, nothing counted twice, nothing lost."""

import contextlib
import itertools
import json
import signal
import sys
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest

from segmentation.config.training import DataConfig
from segmentation.data.oxford_pets import read_trainval
from segmentation.data.splits import split
from tests.helpers.programs import (
    TINY,
    Program,
    entry_command,
    good,
    read_until,
    wait_until,
    wait_until_gone,
)
from tests.helpers.stopped import OFTEN, SHORT

pytestmark = pytest.mark.slow

# How far losses may be from those of one process: each process normalizes its own part of a batch.
TOLERANCE = 0.05
LOSSES = ("train/loss", "val/loss")
FP32 = {"precision": "fp32"}


def jobs(program: Program, number: int, pets: Path) -> list[dict[str, Any]]:
    """Train in so many processes; return what each wrote down."""
    out = program.folder / f"by {number}"
    out.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.helpers.together_job", str(pets), str(out)]
    if number > 1:
        torchrun = ["torch.distributed.run", "--standalone", f"--nproc-per-node={number}", "-m"]
        command[2:2] = torchrun
    good(program.run(*command, OMP_NUM_THREADS="1"))
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(number)]


def test_processes_have_the_same_weights_and_every_image_counts_once(
    program: Program, pets: Path
) -> None:
    """The last batch of 12 by 5 has two images: one of three processes has none."""
    (alone,), several = jobs(program, 1, pets), jobs(program, 3, pets)
    assert len({one["weights"] for one in several}) == 1
    for one in several:
        assert one["history"] == several[0]["history"]
        for name in LOSSES:
            assert one["history"][name] == pytest.approx(alone["history"][name], abs=TOLERANCE)
    # Augmented alike, whoever has an image.
    assert sorted(alone["seen"]) == sorted(
        itertools.chain.from_iterable(one["seen"] for one in several)
    )


def curve(program: Program, name: str) -> list[tuple[int, float]]:
    """Return a metric of the one run of a program's store."""
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]


def test_a_training_by_two_processes_is_one_run_with_a_curve_like_that_of_one(
    tmp_path: Path, pets: Path
) -> None:
    one = Program(tmp_path / "one", tmp_path / "cache of one")
    two = Program(tmp_path / "two", tmp_path / "cache of two")
    assert one.entry("train", **TINY, **FP32, data=pets).returncode == 0
    done = good(two.process("train", **TINY, **FP32, data=pets, processes=2))
    assert done.stdout.count("Score:") == 1
    assert "images by 2 processes" in done.stdout
    assert "one process with all threads is often faster" in done.stdout
    assert done.stdout.count("Reading images") == 1
    assert done.stdout.count("Epoch 3/3") == 1
    assert done.stderr == ""
    (run,) = mlflow.MlflowClient(two.store).search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["processes"] == "2"
    (version,) = mlflow.MlflowClient(two.store).search_model_versions("name='pet-unet'")
    assert version.run_id == run.info.run_id
    for name in LOSSES:
        (steps, values), (others, found) = (
            zip(*curve(program, name), strict=True) for program in (one, two)
        )
        assert steps == others == (1, 2, 3)
        assert found == pytest.approx(values, abs=TOLERANCE)
    assert not list((two.cache / "runs").glob("*"))


def process_of_rank(parent: psutil.Process, rank: int) -> psutil.Process:
    for child in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            environment = child.environ()
            if environment.get("RANK") == str(rank) and "LOCAL_RANK" in environment:
                return child
    raise AssertionError(f"no process has rank {rank}")


def wait_for_epoch(program: Program, least: int) -> None:
    """Wait until the store has a figure of that epoch."""
    wait_until(lambda: any(step >= least for step, _ in curve(program, "val/dice")))


@pytest.mark.parametrize("rank", [0, pytest.param(1, marks=pytest.mark.full)])
def test_a_process_that_is_killed_comes_back_and_training_goes_on_in_the_same_run(
    tmp_path: Path, pets: Path, rank: int
) -> None:
    program = Program(tmp_path / "work", tmp_path / "cache")
    command = entry_command("train", **SHORT, **FP32, data=pets, processes=2)
    process = program.start(*command, **OFTEN)
    children: list[psutil.Process] = []
    try:
        read_until(process, "Epoch")
        children = psutil.Process(process.pid).children(recursive=True)
        wait_for_epoch(program, 6)
        process_of_rank(psutil.Process(process.pid), rank).kill()
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    assert process.returncode == 0, err
    assert "Going on with " in out
    steps = [step for step, _ in curve(program, "val/dice")]
    assert steps == list(range(1, 41))
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags
    assert len(mlflow.MlflowClient(program.store).search_model_versions("name='pet-unet'")) == 1
    assert not list((program.cache / "runs").glob("*"))


def test_what_is_wrong_is_said_once_and_nothing_is_tried_again(
    program: Program, own_pets: Path
) -> None:
    chosen = split(read_trainval(own_pets), DataConfig(train_images=12, val_images=6))
    broken = chosen.train[0].image
    broken.write_bytes(b"no picture")
    done = program.process("train", **TINY, data=own_pets, processes=2)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Error:") == 1, done.stderr
    assert broken.name in done.stderr
    assert "Traceback" not in done.stderr
    wrong = program.entry("train", **{**TINY, "width": 0}, data=own_pets, processes=2)
    assert wrong.returncode == 2
    assert wrong.stderr.count("width=0") == 1
    few = program.entry("train", **TINY, data=own_pets, processes=0)
    assert few.returncode == 2


def test_ctrl_c_ends_all_of_them_and_one_process_can_go_on(program: Program, pets: Path) -> None:
    command = entry_command("train", **SHORT, **FP32, data=pets, processes=2)
    process = program.start(*command, **OFTEN)
    read_until(process, "Epoch")
    wait_for_epoch(program, 3)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.count("stopped by Ctrl-C or SIGTERM") == 1, err
    assert "Traceback" not in err
    wait_until_gone(children)
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.info.status == "KILLED"
    done = program.entry("train", resume=run.info.run_id)
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in curve(program, "val/dice")] == list(range(1, 41))


def test_a_budget_is_agreed_upon(program: Program, pets: Path) -> None:
    done = good(
        program.process("train", **{**TINY, "epochs": 1}, data=pets, processes=2, budget="4s")
    )
    assert "Budget: " in done.stdout
    assert len(curve(program, "val/dice")) > 1
