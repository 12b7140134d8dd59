"""Standard streams that are closed, or whose reader has left: the work is done all the same."""

import shlex
from pathlib import Path

import pytest

from tests.helpers.home import Home
from tests.helpers.programs import entry_command


@pytest.mark.parametrize("end", ["<&- >&- 2>&-", "| true"])
def test_predict_writes_all_masks_whoever_listens(home: Home, tmp_path: Path, end: str) -> None:
    photos = home.data / "images"
    command = shlex.join(entry_command("predict", images=photos, output=tmp_path / "out"))
    done = home.run("bash", "-c", f"{command} {end}; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(list(photos.glob("*.jpg")))
    assert (tmp_path / "out" / "predictions.csv").is_file()
