"""`predict` on real files: masks under their photos' names and sizes, and every kind of trouble."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segmentation.data.photo_folder import ENDINGS
from tests.helpers.home import Home
from tests.helpers.programs import good
from tests.helpers.stopped import interrupt


def photo(discs: Path, position: int = 0) -> Image.Image:
    with Image.open(sorted((discs / "images").iterdir())[position]) as image:
        return image.copy()


def mask(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.array(image)


def table(output: Path) -> list[dict[str, str]]:
    text = (output / "predictions.csv").read_text(errors="surrogateescape")
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def album(tmp_path: Path, discs: Path) -> Path:
    folder = tmp_path / "my album"
    (folder / "cats" / "best of").mkdir(parents=True)
    photo(discs, 0).save(folder / "a.jpg", quality=95)
    photo(discs, 1).save(folder / "cats" / "b.PNG")
    photo(discs, 2).save(folder / "cats" / "best of" / "c.webp", lossless=True)
    photo(discs, 3).save(folder / "same.jpg", quality=95)
    photo(discs, 4).save(folder / "same.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    photo(discs, 5).save(folder / "d.jpeg", quality=95, exif=exif)
    return folder


def test_each_photo_has_a_mask_of_its_own_size_under_its_own_name(
    home: Home, album: Path, discs: Path, tmp_path: Path
) -> None:
    (album / "notes.txt").write_text("not a photo")
    (album / "film.heic").write_bytes(b"not looked at")
    (album / "broken.jpg").write_bytes((album / "a.jpg").read_bytes()[:900])
    (album / "empty.png").write_bytes(b"")
    output = tmp_path / "out" / "masks of it"
    asked = {"images": album, "output": output, "overlays": "true", "probabilities": "true"}
    done = home.entry("predict", **asked)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "2 of 8 photos could not be used" in done.stderr
    assert "Left out: broken.jpg cannot be decoded" in done.stdout
    assert "Left out: empty.png cannot be read (the file is empty)" in done.stdout
    assert "Not looked at: 1 file(s), ending: .heic" in done.stdout
    names = ["a", "cats/b", "cats/best of/c", "d", "same.jpg", "same.png"]
    for kind, ending in (("masks", "png"), ("overlays", "jpg"), ("probabilities", "png")):
        found = {str(p.relative_to(output / kind)) for p in (output / kind).rglob("*.*")}
        assert found == {f"{name}.{ending}" for name in names}
    rows = {row["image"]: row for row in table(output)}
    assert len(rows) == 8
    for position, name in enumerate(["a.jpg", "cats/b.PNG", "cats/best of/c.webp", "same.jpg"]):
        row, size = rows[name], photo(discs, position).size
        pixels = mask(output / row["mask"])
        assert (int(row["width"]), int(row["height"])) == size == pixels.shape[::-1]
        assert set(np.unique(pixels)) == {0, 255}
        assert float(row["pet_share"]) == pytest.approx((pixels == 255).mean(), abs=1e-6)
        gray = mask(output / row["mask"].replace("masks", "probabilities", 1))
        sure = np.abs(gray - 255 * home.threshold) > 1
        assert np.array_equal(pixels[sure] == 255, gray[sure] > 255 * home.threshold)
    assert rows["broken.jpg"]["problem"].startswith("cannot be decoded")
    assert rows["broken.jpg"]["mask"] == ""
    assert "notes.txt" not in rows
    run = home.client.search_runs(["0"], f"params.`output` = '{output}'")[0]
    assert float(run.data.params["threshold"]) == home.threshold
    left = {file.path for file in home.client.list_artifacts(run.info.run_id)}
    assert {"overlays.jpg", "predictions.csv"} <= left

    told = home.refused(2, "predict", images=album, output=output)
    assert "7 of the 9 files to be written are there already" in told
    # Even if the results lie among the photos, they are not taken for photos.
    inside = album / "results"
    for _ in range(2):
        done = home.entry("predict", images=album, output=inside, overwrite="true")
        assert "Predicting 8/8" in done.stdout


def test_a_single_file_and_mistakes(home: Home, album: Path, tmp_path: Path) -> None:
    one = tmp_path / "photo without ending"
    one.write_bytes((album / "a.jpg").read_bytes())
    good(home.entry("predict", images=one, output=tmp_path / "one", threshold=0.9))
    assert (tmp_path / "one" / "masks" / "photo without ending.png").exists()
    (run,) = home.client.search_runs(["0"], f"params.`output` = '{tmp_path / 'one'}'")
    assert (run.info.status, run.data.metrics["predict/photos"]) == ("FINISHED", 1)
    (tmp_path / "none").mkdir()
    (tmp_path / "file").write_text("")
    for options, text in (
        ({"images": tmp_path / "nowhere"}, "there is no such file or folder"),
        ({"images": tmp_path / "none"}, f"no file there ends in {', '.join(ENDINGS)}"),
        ({"output": tmp_path / "file"}, "is a file; expected a folder"),
        ({"threshold": "1.5"}, "threshold=1.5: expected a number, more than 0 and less than 1"),
    ):
        given = {"images": album, "output": tmp_path / "o", **options}
        assert text in home.refused(2, "predict", **given)
        assert not (tmp_path / "o").exists()


def test_what_is_stopped_leaves_whole_masks_and_a_table_of_them(home: Home, tmp_path: Path) -> None:
    album = tmp_path / "many"
    album.mkdir()
    contents = [path.read_bytes() for path in sorted((home.data / "images").iterdir())]
    for number in range(600):
        (album / f"{number:04}.jpg").write_bytes(contents[number % len(contents)])
    output = tmp_path / "out"
    begun = output / "masks" / "0050.png"
    done = interrupt(home, "predict", begun, images=album, output=output)
    assert done.returncode == 1
    assert "stopped by Ctrl-C" in done.stderr
    rows = table(output)
    assert 1 <= len(rows) < 600
    for row in rows:
        assert set(np.unique(mask(output / row["mask"]))) <= {0, 255}
    assert not [name for name in os.listdir(begun.parent) if not name.endswith(".png")]


def test_odd_files_and_names_trouble_nobody_else(home: Home, album: Path, tmp_path: Path) -> None:
    content = (album / "a.jpg").read_bytes()
    os.mkfifo(album / "pipe.jpg")
    long = "x" * 251 + ".jpg"  # as long as a name can be
    (album / long).write_bytes(content)
    (album / os.fsdecode(b"caf\xe9.jpg")).write_bytes(content)
    (album / os.fsdecode(b"bad\xff.jpg")).write_bytes(b"bad")
    output = tmp_path / "out"
    done = home.entry("predict", images=album, output=output, overlays="true")
    assert done.returncode == 1
    assert "Left out: pipe.jpg cannot be read (is not a plain file)" in done.stdout
    assert "Left out: bad\\udcff.jpg is not a JPEG" in done.stdout
    assert "2 of 10 photos could not be used" in done.stderr
    assert (output / "masks" / long.replace(".jpg", ".png")).exists()
    assert os.path.exists(os.fsencode(output / "masks") + b"/caf\xe9.png")
    assert not list(output.rglob(".partial*"))
