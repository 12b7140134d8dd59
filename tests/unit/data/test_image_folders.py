"""Folders of own images and masks: used rightly, or refused by name in one sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentation.config.training import DataConfig
from segmentation.data.dataset import SplitDataset
from segmentation.data.example import Example
from segmentation.data.images import examples
from segmentation.data.loading import load_splits
from segmentation.data.sources import Source, folder_model_name, resolve_source
from segmentation.data.splits import in_gate, split
from segmentation.errors import ConfigError, DataError
from segmentation.utils.concurrency import ignore_progress
from tests.helpers.own_images import DISC, DISTANCE, GRAY, TRIMAP, Mask, groups, make, photo, save

ONES = DISC.astype(np.uint8)
VOID = np.where(TRIMAP == 3, 255, ONES).astype(np.uint8)
SOFT = (np.clip(9 - DISTANCE, 0, 1) * 200 + 55 * DISC).astype(np.uint8)
INDEXED = Image.fromarray(ONES, "P")
INDEXED.putpalette([255, 255, 255, 0, 0, 0])

#: Masks that are used, how their files end, and the settings that they need.
USED: dict[str, tuple[Mask, str, dict[str, object]]] = {
    "0 and 255": (GRAY, "png", {}),
    "0 and 1": (ONES, "PNG", {}),
    "1 bit": (Image.fromarray(DISC), "png", {}),
    "palette, by its index": (INDEXED, "png", {}),
    "equal channels": (np.dstack([GRAY] * 3), "png", {}),
    "opaque": (np.dstack([GRAY] * 3 + [GRAY | 255]), "png", {}),
    "BMP": (GRAY, "bmp", {}),
    "TIFF": (GRAY, "Tiff", {}),
    "GIF, by its color": (Image.fromarray(GRAY).quantize(2), "gif", {}),
    "JPEG": (GRAY, "jpg", {"mask_threshold": 128}),
    "soft edge": (SOFT, "png", {"mask_threshold": 255}),
    "classes": (np.where(DISC, np.uint8(7), TRIMAP), "png", {"foreground": "7, 9"}),
    "trimap": (TRIMAP, "png", {"foreground": 1, "ignore": 3}),
    "void": (VOID, "png", {"ignore": "255"}),
}


def source_of(folder: Path, **settings: object) -> Source:
    return resolve_source(DataConfig(source=str(folder), image_size=32, **settings))  # type: ignore[arg-type]


def examples_of(source: Source) -> list[Example]:
    return [*source.trainval(), *source.test()]


def loaded(folder: Path, **settings: object) -> SplitDataset:
    source = source_of(folder, **settings)
    return load_splits({"all": examples_of(source)}, {}, source.config, ignore_progress)["all"]


@pytest.mark.parametrize(("mask", "ending", "settings"), USED.values(), ids=USED)
def test_masks_are_taken_for_what_they_say(
    tmp_path: Path, mask: Mask, ending: str, settings: dict[str, object]
) -> None:
    data = loaded(make(tmp_path / "own", 2, mask, ending), **settings)
    for flags in data.pixels.gather([0, 1])[1]:
        assert np.array_equal(flags & examples.PET_BIT == examples.PET_BIT, DISC)
        ignored = (TRIMAP == 3) & ("ignore" in settings)
        assert np.array_equal(flags & examples.COUNTS_BIT == 0, ignored)


def test_what_masks_mean_decides_what_is_cached_of_them(tmp_path: Path) -> None:
    folder = make(tmp_path / "own", 1, TRIMAP)
    for values, pixels in (("1", (TRIMAP == 1)), ("2", TRIMAP == 2), ("1,3", TRIMAP != 2)):
        (flags,) = loaded(folder, foreground=values).pixels.gather([0])[1]
        assert np.array_equal(flags & examples.PET_BIT, pixels)
    with pytest.raises(DataError):
        loaded(folder)


def test_names_of_any_kind_and_depth_are_paired(tmp_path: Path) -> None:
    folder = tmp_path / "My own: photos"
    for number, ending in enumerate(("jpg", "JPEG", "Jpg", "webp", "gif", "png")):
        save(folder / "Images" / "Day 2.5" / f"été {number}.{ending}", photo(number))
        save(folder / "MASKS" / "Day 2.5" / f"ÉTÉ {number}.PNG", GRAY)
    for kind in ("Images", "MASKS"):
        (folder / kind / "Day 2.5").rename(tmp_path / kind)
        (folder / kind / "Day 2.5").symlink_to(tmp_path / kind)
        (tmp_path / kind / "circle").symlink_to(folder / kind)
        for other in ("Thumbs.db", ".hidden.png"):
            (tmp_path / kind / other).touch()
    source = source_of(folder)
    names = {f"Day 2.5/été {number}" for number in range(6)}
    assert {example.id for example in examples_of(source)} == names
    assert len(loaded(folder)) == 6
    assert (source.model_name, source.kind) == ("My-own-photos-unet", "My-own-photos")
    assert source.summary == f"Data: {folder}, own images and masks"
    assert folder_model_name(Path("/")) == "own-unet"


def test_a_photo_is_turned_where_only_that_fits_its_mask(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # a quarter to the right
    wide = np.concatenate([photo(0), photo(1)], axis=1)
    folder = tmp_path / "own"
    for name, mask in (("upright", GRAY[:, :32].repeat(2, axis=0)), ("stored", np.tile(GRAY, 2))):
        save(folder / "images" / f"{name}.jpg", wide, exif=exif, quality=100)
        save(folder / "masks" / f"{name}.png", mask)
        wide = wide[:, ::-1]
    shapes, data = {}, loaded(folder)
    for example in data.examples:
        pixels = examples.decode(example, *examples.read_files(example))
        assert pixels.image.shape[:2] == pixels.trimap.shape
        shapes[example.id] = pixels.trimap.shape
    assert shapes == {"upright": (64, 32), "stored": (32, 64)}
    (note,) = examples.note_on_turned(data.turned, data.examples[0].labels)
    assert "are to be turned: 2 (" in note


def put(there: Mask, ending: str = "png") -> Callable[[Path, Path], None]:
    """Return what puts this in the place of a mask."""

    def change(_image: Path, mask: Path) -> None:
        mask.unlink()
        save(mask.with_suffix(f".{ending}"), there)

    return change


def twice_test(*paths: Path) -> None:
    for path in paths:
        for folder in (path.parent / "test", path.parents[1] / "test" / path.parent.name):
            save(folder / path.name, Image.open(path))


#: What is done to two images and masks, how the bad file ends, and what is said of each.
BAD_FILES: dict[str, tuple[Callable[[Path, Path], object], str, str]] = {
    "three values": (put(TRIMAP), "png", "the mask has the values 1, 2, 3: say by foreground or m"),
    "0, 1 and 255": (put(VOID), "png", "the mask has the values 0, 1, 255: say by"),
    "soft edge": (put(SOFT), "png", "what they mean, since only 0 with 1 or with 255 speak for"),
    "JPEG": (put(GRAY, "jpg"), "jpg", "is a JPEG, which blurs a mask's values; save the mask as"),
    "channels": (put(np.dstack([GRAY, GRAY, ONES])), "png", "is a mask whose channels differ;"),
    "alpha": (put(np.dstack([GRAY | 255] * 3 + [GRAY])), "png", "is a mask whose channels differ"),
    "16 bits": (put(Image.fromarray(GRAY.astype(np.uint16))), "png", "has 16 bits a sample"),
    "size": (put(GRAY[1:]), "png", "is 32 x 31 pixels, but its image is 32 x 32"),
    "empty": (put(GRAY * 0), "png", "the mask has no foreground (values: 0); say empty=allow if"),
    "no mask": (lambda _, mask: mask.unlink(), "png", "has no mask; expected one so named in "),
    "no image": (lambda image, _: image.unlink(), "png", "has no image; expected one so named in "),
    "twice": (
        lambda image, _: save(image.with_suffix(".jpg"), photo(0)),
        "jpg",
        ".png has the same name; rename one, or remove it",
    ),
    "twice test": (twice_test, "png", ".png counts as of the same name; rename one, or remove it"),
    "link": (
        lambda _, mask: mask.with_suffix(".Day").symlink_to("nowhere"),
        "Day",
        "is a link to what is not there; mend the link, or remove it",
    ),
}


@pytest.mark.parametrize(("change", "ending", "text"), BAD_FILES.values(), ids=BAD_FILES)
def test_all_files_that_could_mean_anything_are_refused_by_name(
    tmp_path: Path, change: Callable[[Path, Path], object], ending: str, text: str
) -> None:
    folder = make(tmp_path / "own")
    for number in (0, 1):
        change(*(folder / kind / f"photo {number}.png" for kind in ("images", "masks")))
    with pytest.raises(DataError) as raised:
        loaded(folder)
    for number, problem in zip((0, 1), sorted(raised.value.problems), strict=True):
        assert f"/photo {number}.{ending}: " in problem
        assert text in problem
    if text.startswith("the mask has the values"):
        assert " in 2 masks; say which are foreground, such as foreground=1" in str(raised.value)


def test_a_split_of_inverted_masks_is_refused(tmp_path: Path) -> None:
    small = (DISTANCE < 3).astype(np.uint8)
    loaded(make(tmp_path / "right", mask=small))
    with pytest.raises(DataError, match=r"97\.\d% of the pixels of the all split are foreground;"):
        loaded(make(tmp_path / "inverted", mask=1 - small))


def test_masks_without_foreground_count_where_they_are_meant(tmp_path: Path) -> None:
    folder = make(tmp_path / "own")
    save(folder / "masks" / "photo 3.png", GRAY * 0)
    data = loaded(folder, empty="allow")
    assert (len(data), data.empty) == (8, 1)


#: Settings that cannot be, with own images (True) or with Oxford's layout, and what is said.
BAD_SETTINGS = [
    (True, {"border": "ignore"}, "border=ignore: is of Oxford-IIIT Pet's trimaps"),
    (True, {"foreground": "1,x"}, "foreground=1,x: expected values from 0 to 255"),
    (True, {"ignore": "256"}, "ignore=256: expected values"),
    (True, {"foreground": "1,2", "ignore": "2"}, "foreground=1,2, ignore=2: each says what"),
    (True, {"foreground": "1", "mask_threshold": 9}, "foreground=1, mask_threshold=9: each"),
    (False, {"foreground": "1"}, "foreground=1: is for own images and masks, and data="),
    (False, {"empty": "allow"}, "empty=allow: is for own images"),
]


@pytest.mark.parametrize(("own", "settings", "text"), BAD_SETTINGS)
def test_settings_of_the_other_layout_or_against_each_other_are_refused(
    tmp_path: Path, pets: Path, own: bool, settings: dict[str, object], text: str
) -> None:
    folder = make(tmp_path / "own", 1) if own else pets
    with pytest.raises(ConfigError, match=f"^{text}"):
        source_of(folder, **settings)


def test_splits_follow_the_content_and_equal_files_stay_together(tmp_path: Path) -> None:
    folder = make(tmp_path / "own", 60)
    for name in ("images", "masks"):
        content = (folder / name / "photo 7.png").read_bytes()
        (folder / name / "again.png").write_bytes(content)
    source = source_of(folder)
    parts = split(source.trainval(), source.config)
    named = {"test": source.test(), **vars(parts)}
    names = {name: {example.id for example in part} for name, part in named.items()}
    assert sum(map(len, names.values())) == len(set.union(*names.values())) == 61
    assert all(6 <= len(names[name]) <= 18 for name in ("test", "gate", "val"))
    assert sum({"photo 7", "again"} <= part for part in names.values()) == 1
    for kind in ("images", "masks"):  # another name, the same split
        (folder / kind / "photo 3.png").rename(folder / kind / "renamed.png")
    renamed = {example.id for example in source_of(folder).test()}
    assert ("renamed" in renamed) == ("photo 3" in names["test"])


def test_a_test_set_beside_it_may_hold_no_image_of_the_others(tmp_path: Path) -> None:
    folder = make(tmp_path / "own")
    make(folder / "test", 9)
    source = source_of(folder)
    parts, apart = {"train": source.trainval()}, {"test": source.test()}
    with pytest.raises(DataError, match=r"(?s)8 of 8 .*photo 0.png: the same picture as .*/test/"):
        load_splits(parts, apart, source.config, ignore_progress)
    assert [example.id for example in source.test()][-1] == "test/photo 8"


def test_groups_stay_together_and_classes_come_in_proportion(tmp_path: Path) -> None:
    folder = make(tmp_path / "own", 90)
    rows = [f"photo {n}.png,film\u2028{n // 3},{'ab'[n % 9 < 3]}" for n in range(90)]
    source = source_of(folder, groups=groups(tmp_path, *rows), val_images=12)
    parts = split(source.trainval(), source.config)
    films = [{e.key for e in part} for part in (parts.train, parts.val, parts.gate, source.test())]
    assert sum(map(len, films)) == len(set.union(*films)) == 30
    assert len(parts.val) == 12
    assert sum(example.kind == "b" for example in parts.val) in (3, 6)
    assert all(in_gate(example) for example in parts.gate)
    assert source.trainval()[0].labels.kinds == "classes"


@pytest.mark.parametrize("films", ["0", "01"])  # by its hash, 0 is in the test set
def test_too_few_groups_are_told(tmp_path: Path, films: str) -> None:
    folder = make(tmp_path / "own", 8)
    rows = [f"photo {n}.png,{films[n % len(films)]}" for n in range(8)]
    source = source_of(folder, groups=groups(tmp_path, *rows, head="path,group"))
    with pytest.raises(
        ConfigError, match=f"^groups: two are needed .* there are {len(films) - 1}; h"
    ):
        split(source.trainval(), source.config)


def test_a_bad_csv_is_refused_with_all_its_lines(tmp_path: Path) -> None:
    folder = make(tmp_path / "own", 4)
    rows = ["photo 0.png,a,x", "photo 0,a,x", "photo 9.png,a,x", "photo 1.PNG,,x", "photo 2.png"]
    with pytest.raises(DataError) as raised:
        source_of(folder, groups=groups(tmp_path, *rows)).trainval()
    said = ["'photo 0' is listed twice", "no image 'photo 9.png'", "expected a group and a class"]
    for text, number in zip((*said, said[-1]), (3, 4, 5, 6), strict=True):
        assert any(f"csv:{number}: " in one and text in one for one in raised.value.problems)
    assert [one for one in raised.value.problems if "photo 3.png: is not in groups.csv" in one]
    for head in ("file,group", "path;group"):
        with pytest.raises(DataError, match="expected a first line path,group"):
            source_of(folder, groups=groups(tmp_path, head=head)).trainval()
    with pytest.raises(DataError, match=r"no\.csv: expected a readable CSV"):
        source_of(folder, groups=str(tmp_path / "no.csv")).trainval()
