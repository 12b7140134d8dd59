"""Ctrl-C in a terminal, where all programs of `mlflow run` hear it at once."""

import os
import signal
from pathlib import Path

import mlflow
import psutil

from segmentation.training import checkpoint
from segmentation.training.state import TrainingState
from tests.helpers.programs import PROJECT, Program, entry_command, read_until, wait_until_gone
from tests.helpers.stopped import SHORT


def test_ctrl_c_under_mlflow_run_writes_a_checkpoint_too(program: Program, pets: Path) -> None:
    options = [f"-P{name}={value}" for name, value in {**SHORT, "epochs": "100000"}.items()]
    command = ["mlflow", "run", str(PROJECT), "-e", "train", "--env-manager", "local"]
    # A session of its own, as a terminal's foreground is.
    process = program.start("setsid", *command, f"-Pdata={pets}", *options)
    try:
        read_until(process, "Epoch ")
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=120)
        wait_until_gone(family)
    finally:
        process.kill()
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.info.status in ("KILLED", "FAILED")  # whoever is the last to say
    kept = checkpoint.load(program.cache / "runs" / run.info.run_id / "checkpoint")
    state = TrainingState.from_dict(kept["state"])
    assert state.epoch >= 1
    again = program.start(*entry_command("train", resume=run.info.run_id))
    try:
        read_until(again, f"Going on with {run.info.run_name}: {state.position()}")
    finally:
        again.kill()
        again.communicate()
