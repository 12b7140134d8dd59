"""Own images and masks through every program, and the same pets in both layouts."""

import hashlib
import math
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from segmentation.config.training import Config, DataConfig
from segmentation.data.images.examples import binary_mask, decode, read_files
from segmentation.data.sources import resolve_source
from segmentation.workflows.session import TrainingSession
from tests.helpers.own_images import TRIMAP, groups, make, save
from tests.helpers.programs import DISCS, TINY, Program, good

#: `pet` as a word: metric keys such as `best/pet_share` are the same for all data.
_PET = re.compile(r"\b(pets?|breeds?|trimaps?)\b", re.IGNORECASE)


def as_own(pets: Path, folder: Path) -> str:
    """Write pets of Oxford's layout as images and masks; return a CSV of groups and classes."""
    source = resolve_source(DataConfig(source=str(pets)))
    rows = []
    for part, examples in ((".", source.trainval()), ("test", source.test())):
        for one in examples:
            for kind, path in (("images", one.image), ("masks", one.mask)):
                (folder / part / kind).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / part / kind)
            rows.append(f"{'test/' if part == 'test' else ''}{one.image.name},{one.id},{one.kind}")
    return groups(folder, *rows)


def test_the_same_animals_give_the_same_figures_in_both_layouts(
    tmp_path: Path, pets: Path, program: Program
) -> None:
    table = as_own(pets, tmp_path / "animals")
    own = {"data": tmp_path / "animals", "groups": table, "foreground": 1, "ignore": 3}
    for given in ({"data": pets, "border": "ignore"}, own):
        good(program.entry("train", **TINY, **given, model_name="one"))
        good(program.entry("evaluate", **given, model="models:/one/1"))
    runs = program.runs()
    trained, evaluated = runs[1::2], runs[::2]
    for one, other in (trained, evaluated):
        same = {
            name: value
            for name, value in one.data.metrics.items()
            if not re.search(r"second|system|time|border|cat|dog", name)
        }
        assert len(same) > 10
        assert same == {name: other.data.metrics[name] for name in same}
    assert trained[0].data.tags["data.digest"] == trained[1].data.tags["data.digest"]


def pixels_of(folder: Path, **settings: str) -> dict[str, str]:
    """Return a digest of pixels, mask and group of each image, by the last part of its name."""
    config = DataConfig(source=str(folder), **settings)  # type: ignore[arg-type]
    source, found = resolve_source(config), {}
    for example in [*source.trainval(), *source.test()]:
        pixels = decode(example, *read_files(example))
        arrays = (pixels.image, *binary_mask(pixels.trimap, config.border))
        group = f"{example.key} {example.kind}" * ("groups" in settings)
        digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays) + group.encode())
        found[example.id.rpartition("/")[2]] = digest.hexdigest()
    return found


def test_what_prepare_writes_can_be_trained_on_again(
    tmp_path: Path, pets: Path, program: Program
) -> None:
    void = make(tmp_path / "own", 30, TRIMAP)
    rows = (f"photo {n}.png,film {n // 2},{'ab'[n % 4 < 2]}" for n in range(30))
    own = {"foreground": "1", "ignore": "3", "groups": groups(tmp_path, *rows)}
    again = own | {"ignore": "2", "groups": str(tmp_path / "shown void" / "groups.csv")}
    for name, folder, given, then in (
        ("pets", pets, {"border": "pet"}, {}),
        ("void", void, own, again),
    ):
        shown = tmp_path / f"shown {name}"
        options = {"train_images": "all", "val_images": "all", **given}
        done = good(program.entry("prepare", data=folder, output=shown, **options))
        written, before = pixels_of(shown, **then), pixels_of(folder, **given)
        assert len(written) == int(re.findall(r"(\d+) in trainval", done.stdout)[0])
        assert written == {name: before[name] for name in written}
        typed = "".join(f" -P {shlex.quote(f'{name}={value}')}" for name, value in then.items())
        assert f" -e train --env-manager local -P 'data={shown}'{typed}\n" in done.stdout
        good(program.entry("train", **TINY | options | then, data=shown))


def test_what_a_run_logs_splits_uneven_groups_alike(tmp_path: Path) -> None:
    data = make(tmp_path / "own", 60)
    rows = (f"photo {n}.png,film {math.isqrt(4 * n)}" for n in range(60))
    table = groups(tmp_path, *rows, head="path,group")
    for seed in range(5):
        given = {**TINY, "data": str(data), "groups": table, "split_seed": seed}
        session = TrainingSession.load(Config.from_options(given))
        again = TrainingSession.load(Config.from_options(session.settings()))
        assert again.digests == session.digests


def test_a_strangers_folder_is_trained_judged_and_predicted_and_nothing_says_pet(
    tmp_path: Path, program: Program
) -> None:
    folder = make(tmp_path / "Coffee beans (2026)", 60)
    rows = (f"photo {n}.png,bag {n // 2},{'raw' if n % 4 < 2 else 'roast'}" for n in range(60))
    for number in range(0, 60, 7):
        save(folder / "masks" / f"photo {number}.png", TRIMAP * 0)
    data = {"data": folder, "groups": groups(tmp_path, *rows), "empty": "allow"}
    done = [
        good(program.entry("prepare", **data)),
        good(program.entry("train", **DISCS | {"epochs": "14", "train_images": "20"}, **data)),
        good(program.entry("evaluate", **data)),
        good(program.entry("promote", **data)),
        good(program.entry("predict", images=folder / "images", output=tmp_path / "out")),
    ]
    prepared, trained, judged, *_ = (one.stdout for one in done)
    assert prepared.startswith(f"Data: {folder}, own images and masks\n")
    for line in (
        "classes:   2 (raw 30, roast 30)",
        "values:    0 in 60, 255 in 51, of the masks",
        "empty:     9 without foreground",
    ):
        assert line in prepared.splitlines()
    assert "Model: Coffee-beans-2026-unet version 1, @challenger, @champion" in trained
    assert f"-P model=models:/Coffee-beans-2026-unet/1 -P 'data={folder}' -P empty=" in trained
    assert re.search(r"^Without foreground: \d of \d+ images of train$", trained, re.M)
    assert re.search(r"^Classes: of 2 classes the worst is r", judged, re.M)
    client = program.client
    (version,) = client.search_model_versions("name='Coffee-beans-2026-unet'")
    introduction = client.get_registered_model(version.name).description
    said = [one.stdout + one.stderr for one in done] + [version.description, introduction]
    for run in program.runs():
        said += [str(run.data.tags), str(run.data.params), str(run.inputs)]
        if client.list_artifacts(run.info.run_id):
            artifacts = program.download(run.info.run_id, "").rglob("*")
            texts = (".html", ".csv", ".json", ".txt", ".md")
            said += [path.read_text() for path in artifacts if path.suffix in texts]
    inert = r"'border': 'pet'|\"border\": \"pet\"|data:image[^\"]*"  # a setting; pictures
    text = re.sub(inert, "", "\n".join(said))
    assert [text[max(0, m.start() - 60) : m.end() + 20] for m in _PET.finditer(text)] == []
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "photo 3.png"))
    assert ((mask > 0) == (TRIMAP == 1)).mean() > 0.9
