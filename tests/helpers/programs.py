"""Runs the project's programs as a user does: in this process, or as processes of their own."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import mlflow
import psutil

from tests.helpers.in_process import run_entry

PROJECT = Path(__file__).parent.parent.parent
DOCS, README = PROJECT / "docs", PROJECT / "README.md"
#: A training that takes seconds.
TINY = {
    "encoder": "unet",
    "train_images": "12",
    "val_images": "6",
    "image_size": "32",
    "width": "4",
    "depth": "3",
    "epochs": "3",
}
#: The same behind a pretrained encoder, whose images are larger.
PRETRAINED = {
    "encoder": "efficientnet_lite0",
    "train_images": "12",
    "val_images": "6",
    "image_size": "64",
    "width": "4",
    "epochs": "3",
    "lr": "1e-2",
}
# What MLflow reads when it is imported, and keeps.
_QUIET = ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "MLFLOW_DISABLE_TELEMETRY")


@dataclasses.dataclass(frozen=True)
class Program:
    folder: Path
    cache: Path

    def environment(self, **extra: str) -> dict[str, str]:
        """The user's environment, with this project first on the path and a cache of its own."""
        rest = {
            name: value
            for name, value in os.environ.items()
            if name in _QUIET or not name.startswith("MLFLOW_")
        }
        binaries = str(Path(sys.executable).parent)
        return rest | {
            "PATH": f"{binaries}{os.pathsep}{rest['PATH']}",
            "PETSEG_CACHE": str(self.cache),
            "PYTHONPATH": str(PROJECT),
            "MPLBACKEND": "module://of_a_notebook",  # in the shell of an editor
            **extra,
        }

    @property
    def store(self) -> str:
        """The address of the tracking store that these programs use by default."""
        return f"sqlite:///{self.folder}/mlflow.db"

    def start(self, *command: str, **extra: str) -> "subprocess.Popen[str]":
        self.folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(**extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts background jobs with SIGINT ignored, and children inherit that.
            preexec_fn=_heed_ctrl_c,
        )

    def run(self, *command: str, **extra: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*command, **extra)
        out, err = process.communicate(timeout=1500)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def entry(self, name: str, **options: object) -> "subprocess.CompletedProcess[str]":
        """Run `python -m experiments.NAME --option value ...`, but in this process."""
        return self.entry_with(name, {}, **options)

    def entry_with(
        self, name: str, variables: Mapping[str, str], **options: object
    ) -> "subprocess.CompletedProcess[str]":
        arguments = entry_command(name, **options)[3:]
        return run_entry(name, arguments, self.folder, self.environment(**variables))


def good(done: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    """Assert that a program came to a good end; return it."""
    assert done.returncode == 0, done.stderr
    return done


def entry_command(name: str, **options: object) -> list[str]:
    """Return the command line of an entry point, such as `tune`."""
    pairs = [(f"--{option.replace('_', '-')}", str(value)) for option, value in options.items()]
    return [sys.executable, "-m", f"experiments.{name}", *(word for pair in pairs for word in pair)]


def mlflow_run(name: str, project: str = str(PROJECT), **parameters: object) -> list[str]:
    """Return the command by which MLflow runs an entry point in this environment."""
    command = ["mlflow", "run", project, "-e", name, "--env-manager", "local"]
    return [*command, *(f"-P{name}={value}" for name, value in parameters.items())]


def opened_by_launcher(client: mlflow.MlflowClient, **tags: str) -> str:
    """Open a run as MLflow's launcher does for a command; return its id."""
    tags = {"mlflow.project.entryPoint": "main", **tags}
    return str(client.create_run("0", tags=tags).info.run_id)


def documented(page: str, containing: str) -> str:
    """Return the one block of code of a page of docs/ that contains a text."""
    text = (DOCS / page).read_text()
    blocks = re.findall(r"^```(?:python|bash)\n(.*?)^```", text, re.DOTALL | re.M)
    (block,) = [block for block in blocks if containing in block]
    return str(block)


def read_until(process: "subprocess.Popen[str]", beginning: str) -> None:
    """Read what a process prints up to a line that begins so; it must not end before."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith(beginning):
        assert process.poll() is None


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_gone(processes: list[psutil.Process]) -> None:
    """Wait until none of them runs; one whose parent has not asked for its end counts as gone."""
    wait_until(lambda: not any(_runs(process) for process in processes), 60)


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
