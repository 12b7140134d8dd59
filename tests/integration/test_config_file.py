"""The settings that a run keeps, given back as a file, are those of the same run again."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.home import Home
from tests.helpers.programs import good

#: What is given to each entry point, and as what its run keeps it.
GIVEN: dict[str, dict[str, Any]] = {
    "evaluate": {"split": "gate", "border": "ignore", "bad_examples": "skip"},
    "promote": {"model": "models:/pet-unet/1", "border": "ignore"},
    "predict": {"overwrite": True, "threshold": 0.7, "model": "models:/pet-unet/1"},
    "prepare": {"val_images": "all", "split_seed": 3},
    "benchmark": {"suite": "step", "widths": "2", "sizes": "32", "repeats": 2, "encoder": "unet"},
    "shrink": {"older": "2d", "versions": "all"},
}


@pytest.mark.parametrize("entry", GIVEN)
def test_a_run_goes_again_by_the_file_that_it_keeps(home: Home, tmp_path: Path, entry: str) -> None:
    given = dict(GIVEN[entry])
    if entry == "predict":
        photo = sorted((home.data / "images").iterdir())[0]
        given |= {"images": str(photo), "output": str(tmp_path / "masks of März")}
    elif entry != "shrink":
        given["data"] = str(home.data)
    kept = kept_by(home, entry, given)
    lasting = {name: one for name, one in given.items() if name != "overwrite"}  # is said each time
    assert {name: kept.get(name) for name in given} == {**dict.fromkeys(given), **lasting}
    assert kept.get("model", "models:/pet-unet/1") == "models:/pet-unet/1"  # not @champion
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(kept))
    again = {"overwrite": True} if entry == "predict" else {}
    assert kept_by(home, entry, {"config": settings, **again}) == kept


def kept_by(home: Home, entry: str, given: dict[str, Any]) -> dict[str, Any]:
    """Run an entry point; return the settings that its run keeps."""
    (run_id,) = re.findall(r"^ .*/runs/(\w+)", good(home.entry(entry, **given)).stdout, re.M)
    path = home.download(run_id, "config.yaml")
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    assert found.keys() <= home.client.get_run(run_id).data.params.keys()
    return found
