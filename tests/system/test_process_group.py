"""One model, several processes: a curve like that of one, nothing counted twice, nothing lost."""

import contextlib
import json
import signal
import sys
from pathlib import Path

import psutil
import pytest

from segmentation.config.training import DataConfig
from segmentation.data.oxford_pets import read_lists
from segmentation.data.splits import split
from segmentation.runtime.process_group import SINGLE_PROCESS
from tests.helpers.programs import TINY, Program, good
from tests.helpers.stopped import OFTEN, SHORT
from tests.helpers.together_job import train
from tests.helpers.waiting import read_until, wait_until, wait_until_gone

pytestmark = pytest.mark.slow

# How far losses may be from those of one process: each process normalizes its own part of a batch.
TOLERANCE = 0.05
LOSSES = ("train/loss", "val/loss")
FP32 = {"precision": "fp32"}


@pytest.mark.parametrize("more", [[], ["pretrained"]], ids=["unet", "efficientnet_lite0"])
def test_processes_have_the_same_weights_and_a_curve_like_that_of_one(
    program: Program, pets: Path, more: list[str]
) -> None:
    """The last batch of 12 by 5 has two images: one of three processes has none."""
    program.folder.mkdir()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3"]
    job = ["-m", "tests.helpers.together_job", str(pets), str(program.folder), *more]
    good(program.run(*torchrun, *job, OMP_NUM_THREADS="1"))
    first, *others = (json.loads(one.read_text()) for one in program.folder.glob("*.json"))
    assert others == [first, first]
    alone, _ = train(pets, SINGLE_PROCESS, pretrained=bool(more))
    for name in LOSSES:
        assert first[0][name] == pytest.approx(alone[name], abs=TOLERANCE)


def curve(program: Program, name: str) -> list[tuple[int, float]]:
    """Return a metric of the one run of a program's store."""
    points = program.client.get_metric_history(program.the_run.info.run_id, name)
    return [(one.step, one.value) for one in points]


def test_a_training_by_two_is_one_run_within_one_budget(program: Program, pets: Path) -> None:
    done = good(program.run_entry("train", **TINY, processes=2, data=pets, budget="4s"))
    assert done.stdout.count("Budget: ") == done.stdout.count("Score:") == 1
    assert "images by 2 processes" in done.stdout
    assert done.stdout.count("Reading images") == done.stdout.count("Epoch 1/") == 1
    assert done.stderr == ""
    steps = [step for step, _ in curve(program, "val/dice")]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 1
    run = program.the_run
    assert run.info.status == "FINISHED"
    assert run.data.tags["processes"] == "2"
    assert [version.run_id for version in program.versions()] == [run.info.run_id]
    assert not list((program.cache / "runs").glob("*"))


def process_of_rank(parent: psutil.Process, rank: int) -> psutil.Process:
    for child in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            environment = child.environ()
            if environment.get("RANK") == str(rank) and "LOCAL_RANK" in environment:
                return child
    raise AssertionError(f"no process has rank {rank}")


def wait_for_epoch(program: Program, least: int) -> None:
    """Wait until the one run of a program's store has a figure of that epoch."""
    there = program.folder / "mlflow.db"
    wait_until(lambda: there.exists() and program.runs())
    wait_until(lambda: any(step >= least for step, _ in curve(program, "val/dice")))


@pytest.mark.parametrize(
    ("rank", "kind"),
    [(0, signal.SIGHUP), pytest.param(1, signal.SIGINT, marks=pytest.mark.full)],
)
def test_one_that_is_killed_comes_back_a_signal_ends_all_and_one_process_can_go_on(
    program: Program, pets: Path, rank: int, kind: signal.Signals
) -> None:
    options = {**SHORT, **FP32, "epochs": 100, "loader_workers": 1}
    process = program.start_entry("train", **OFTEN, **options, data=pets, processes=2)
    read_until(process, "Epoch")
    wait_for_epoch(program, 6)
    children = psutil.Process(process.pid).children(recursive=True)
    process_of_rank(psutil.Process(process.pid), rank).kill()
    read_until(process, "Going on with ")
    read_until(process, "Epoch")
    children += psutil.Process(process.pid).children(recursive=True)
    process.send_signal(kind)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.count("stopped by Ctrl-C or SIGTERM") == 1, err
    assert "Traceback" not in err
    wait_until_gone(children)
    stopped = program.the_run.info
    assert stopped.status == "KILLED"
    good(program.entry("train", resume=stopped.run_id))
    run = program.the_run
    assert (run.info.status, "failure" in run.data.tags) == ("FINISHED", False)
    assert [step for step, _ in curve(program, "val/dice")] == list(range(1, 101))
    assert len(program.versions()) == 1
    assert not list((program.cache / "runs").glob("*"))


def test_what_is_wrong_is_said_once_and_not_retried(program: Program, own_pets: Path) -> None:
    chosen = split(read_lists(own_pets)["trainval"], DataConfig(train_images=12, val_images=6))
    broken = chosen.train[0].image
    broken.write_bytes(b"no picture")
    done = program.run_entry("train", **TINY, processes=2, data=own_pets)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Error:") == 1, done.stderr
    assert broken.name in done.stderr
    assert "Traceback" not in done.stderr
