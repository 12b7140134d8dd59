"""The tutorial's commands, one after the other, on a small data set."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.helpers.programs import DISCS, DOCS, Program, good

#: What makes minutes of the tutorial's trainings seconds.
QUICK: dict[str, dict[str, str]] = {
    "train": {**DISCS, "epochs": "14"},
    "tune": {**DISCS, "width": "2..4:2", "trials": "4", "trial_epochs": "4", "epochs": "3"},
}


def steps(page: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield entry point, parameters and listing of each command that has a listing."""
    typed = r"^```bash\nmlflow run \. -e (\w+) --env-manager local([^\n]*)\n```\n\n"
    pattern = rf"{typed}```text\n(.*?)^```"
    for entry, parameters, listing in re.findall(pattern, page.read_text(), re.M | re.DOTALL):
        words = [word for word in shlex.split(parameters) if word != "-P"]
        yield entry, dict(word.split("=", 1) for word in words), listing


def beginnings(text: str) -> set[str]:
    """Return the words with which lines begin; who wins is left open."""
    return set(re.findall(r"^\w+", text, re.M)) - {"Champion", "No", "Not"}


@pytest.mark.slow
def test_the_tutorial_runs_from_the_first_command_to_the_last_and_prints_what_it_lists(
    program: Program, discs: Path, tmp_path: Path
) -> None:
    pets, told = shutil.copytree(discs, tmp_path / "pets"), []
    (pets / "images" / "Tabby.mat").touch()  # one lies among the real photos
    for entry, options, listing in steps(DOCS / "tutorial.md"):
        here = {name: value.replace("/path/to/pets", str(pets)) for name, value in options.items()}
        done = good(program.entry(entry, **{**here, **QUICK.get(entry, {})}))
        assert beginnings(listing) <= beginnings(done.stdout), done.stdout
        told.append(entry)
    assert told == ["prepare", "train", "tune", "evaluate", "promote", "predict"]
    champion = MlflowClient(program.store).get_model_version_by_alias("pet-unet", "champion")
    assert str(champion.version) == "1"
    assert len(list((program.folder / "masks" / "masks").iterdir())) == 190
