"""A store with one finished training, which all tests of a test run share."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import mlflow
from mlflow.entities import Run

from tests.helpers.discs import SMALL
from tests.helpers.programs import Program, good

_EPOCHS = 14


@dataclasses.dataclass(frozen=True)
class Home(Program):
    """Where the training is, and what it left.

    Attributes:
        data: the data set.
        run_id: of the training.
        out: what it printed.
    """

    data: Path
    run_id: str
    out: str

    @staticmethod
    def make(folder: Path, data: Path, options: Mapping[str, str] = SMALL) -> None:
        program = Program(folder / "work", folder / "cache")
        done = good(program.entry("train", **{**options, "epochs": _EPOCHS, "data": data}))
        (folder / "out").write_text(done.stdout)

    @classmethod
    def at(cls, folder: Path, data: Path) -> "Home":
        program = Program(folder / "work", folder / "cache")
        version = mlflow.MlflowClient(program.store).get_model_version("pet-unet", "1")
        out = (folder / "out").read_text()
        return cls(program.folder, program.cache, data, str(version.run_id), out)

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.store)

    @property
    def training(self) -> Run:
        return self.client.get_run(self.run_id)

    @property
    def threshold(self) -> float:
        """The model's own, as its version's page tells it."""
        page = str(self.client.get_model_version("pet-unet", "1").description)
        (told,) = re.findall(r"where none is given: (\S+) \(", page)
        return float(told)

    def artifact(self, path: str) -> Path:
        return Path(self.client.download_artifacts(self.run_id, path))
