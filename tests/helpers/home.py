"""A store with one finished training, which all tests of a test run share."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Run

from tests.helpers.programs import DISCS, Program, good

_EPOCHS = 14


@dataclasses.dataclass(frozen=True)
class Home(Program):
    """Where the training is: its data set, its run, and what it printed."""

    data: Path
    run_id: str
    out: str

    @staticmethod
    def make(folder: Path, data: Path, options: Mapping[str, str] = DISCS) -> None:
        program = Program.under(folder)
        done = good(program.entry("train", **{**options, "epochs": _EPOCHS, "data": data}))
        (folder / "out").write_text(done.stdout)

    @classmethod
    def at(cls, folder: Path, data: Path) -> "Home":
        version = Program.under(folder).client.get_model_version("pet-unet", "1")
        return cls.under(folder, data, str(version.run_id), (folder / "out").read_text())

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
        return self.download(self.run_id, path)
