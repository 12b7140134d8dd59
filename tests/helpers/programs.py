"""Runs the project's programs as a user does: in this process, or as processes of their own."""

import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import mlflow
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from tests.helpers.in_process import run_entry

PROJECT = Path(__file__).parent.parent.parent
DOCS, README = PROJECT / "docs", PROJECT / "README.md"
_SHAPE = {"encoder": "unet", "width": "4", "depth": "3", "image_size": "32", "val_images": "6"}
#: A training that takes seconds.
TINY = {**_SHAPE, "train_images": "12", "epochs": "3"}
_LITE0 = {"encoder": "efficientnet_lite0", "depth": "", "image_size": "64", "lr": "1e-2"}
#: The same behind a pretrained encoder, whose images are larger.
PRETRAINED = {**TINY, **_LITE0}
#: A training on discs: 5 epochs give a mediocre model, 14 a good one.
DISCS = {**_SHAPE, "train_images": "30", "lr": "1e-2", "batch_size": "4", "augment": "none"}
#: What a test has started.
STARTED: list["subprocess.Popen[str]"] = []
# What MLflow reads when it is imported, and keeps.
_QUIET = ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "MLFLOW_DISABLE_TELEMETRY")


@dataclasses.dataclass(frozen=True)
class Program:
    """The project's programs in a working folder, with the store there, and a cache."""

    folder: Path
    cache: Path

    @classmethod
    def under(cls, folder: Path, *more: Any) -> Self:
        return cls(folder / "work", folder / "cache", *more)

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

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.store)

    def runs(self, **tags: str) -> list[Run]:
        """The runs of the default experiment that have these tags, the newest first."""
        wanted = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
        return list(self.client.search_runs(["0"], wanted))

    @property
    def the_run(self) -> Run:
        """The only run that there is."""
        (run,) = self.runs()
        return run

    def versions(self, **tags: str) -> list[ModelVersion]:
        """The versions of `pet-unet` that have these tags."""
        found = self.client.search_model_versions("name='pet-unet'")
        return [one for one in found if tags.items() <= one.tags.items()]

    def download(self, run_id: str, path: str) -> Path:
        return Path(self.client.download_artifacts(run_id, path))

    def start(self, *command: str, **extra: str) -> "subprocess.Popen[str]":
        """Start a command; what has not ended by the end of the test is killed then."""
        self.folder.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen(
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
        STARTED.append(process)
        return process

    def run(self, *command: str, **extra: str) -> "subprocess.CompletedProcess[str]":
        return finish(self.start(*command, **extra))

    def entry(self, name: str, **given: object) -> "subprocess.CompletedProcess[str]":
        """Run `python -m experiments.NAME --option value ...`, but in this process.

        A name in capitals is that of an environment variable.
        """
        variables, options = _parted(given)
        arguments = entry_command(name, **options)[3:]
        return run_entry(name, arguments, self.folder, self.environment(**variables))

    def start_entry(self, name: str, **given: object) -> "subprocess.Popen[str]":
        """Start an entry point as a process of its own."""
        variables, options = _parted(given)
        return self.start(*entry_command(name, **options), **variables)

    def run_entry(self, name: str, **given: object) -> "subprocess.CompletedProcess[str]":
        return finish(self.start_entry(name, **given))

    def refused(self, code: int, name: str, **given: object) -> str:
        """Run an entry point that is to end with this exit code; return what it says of it."""
        done = self.entry(name, **given)
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        return done.stderr


def _parted(given: dict[str, object]) -> tuple[dict[str, str], dict[str, object]]:
    """Return what is given for the environment, and the options."""
    variables = {name: str(value) for name, value in given.items() if name.isupper()}
    return variables, {name: value for name, value in given.items() if name not in variables}


def finish(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    out, err = process.communicate(timeout=1500)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


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


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
