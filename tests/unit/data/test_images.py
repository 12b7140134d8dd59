"""Broken and odd files: used rightly or refused by name, as docs/reference/files.md says."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from segmentation.config.training import DataConfig
from segmentation.data.example import Example
from segmentation.data.images.examples import (
    COUNTS_BIT,
    PET_BIT,
    ExampleError,
    decode,
    decode_trimap,
)
from segmentation.data.images.reader import RefusedError, exif_orientation, read_rgb
from segmentation.data.loading import load_splits
from segmentation.data.oxford_pets import read_lists
from segmentation.data.prepare.verification import verify
from segmentation.data.sources import resolve_source
from segmentation.errors import DataError
from segmentation.tracking.registry.photo_model import PhotoError, read_photo
from segmentation.utils.concurrency import ignore_progress
from tests.helpers.corpus import BROKEN, GIF, JPEG, PHOTO, TRIMAP, cases, saved, write

CONFIG = DataConfig(image_size=32)
SKIP = replace(CONFIG, bad_examples="skip")
CASES = cases()
USED = [case for case in CASES if not case.refusals]
REFUSED = [case for case in CASES if case.refusals]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Example]:
    """The corpus on disk, by id; not to be changed."""
    root = tmp_path_factory.mktemp("corpus") / "pets"
    write(root, CASES)
    return {example.id: example for examples in read_lists(root).values() for example in examples}


def test_training_and_verification_name_all_offenders_at_once(corpus: dict[str, Example]) -> None:
    expected = rf"{len(REFUSED)} of {len(CASES)} examples cannot be used.*bad_examples=skip"
    with pytest.raises(DataError, match=expected) as raised:
        load_splits({"train": list(corpus.values())}, {}, CONFIG, ignore_progress)
    folder = next(iter(corpus.values())).image.parent.parent
    report = verify(resolve_source(DataConfig(source=str(folder))), ignore_progress)
    assert any(line.startswith("Note: photos that EXIF") for line in report.lines())
    for problems in (raised.value.problems, report.problems):
        assert [text for case in CASES if (text := case.misnamed(problems))] == []
        assert len(problems) == len(REFUSED)


def test_a_turn_by_exif_is_told_where_all_is_taken_as_stored(corpus: dict[str, Example]) -> None:
    contents = ((case.id, case.image.content) for case in USED)
    (name,) = (id_ for id_, it in contents if isinstance(it, bytes) and exif_orientation(it) == 6)
    parts = load_splits({"train": list(corpus.values())}, {}, SKIP, ignore_progress)
    assert parts["train"].turned == (f"{name}.jpg",)
    turned, trimap = corpus[name], saved(TRIMAP[:-1])
    image = turned.image.read_bytes()
    with pytest.raises(ExampleError, match="is to be turned by its EXIF: draw the trimap on what"):
        decode(turned, image, trimap)


@pytest.mark.parametrize("border", ["pet", "ignore"])
def test_an_odd_file_is_used_with_exactly_its_own_pixels_and_labels(
    corpus: dict[str, Example], border: Literal["pet", "ignore"]
) -> None:
    config = replace(SKIP, border=border)
    train = load_splits({"train": list(corpus.values())}, {}, config, ignore_progress)["train"]
    used = {case.id: case for case in USED}
    assert {example.id for example in train.examples} == set(used)
    for position, example in enumerate(train.examples):
        (image,), (flags,) = train.pixels.gather([position])
        pixels, trimap = used[example.id].image.pixels, used[example.id].trimap.pixels
        assert pixels is not None
        assert np.array_equal(image, pixels), example.id
        pet = (trimap == 1) | ((trimap == 3) & (border == "pet"))
        counts = (trimap != 3) | (border == "pet")
        assert np.array_equal(flags, PET_BIT * pet + COUNTS_BIT * counts), example.id


@pytest.mark.parametrize(
    ("content", "least"),
    [
        (JPEG, 0),
        (saved(PHOTO, "JPEG", progressive=True), 0),
        (saved(PHOTO[:8, :8]), 0),
        (GIF, 2),  # all that is behind the last pixel: that it ends
    ],
)
def test_a_photo_that_is_cut_off_anywhere_is_refused(content: bytes, least: int) -> None:
    read_rgb(content)
    for length in range(1, len(content) - least):
        with pytest.raises(RefusedError, match=r"^(cannot be decoded|is not a JPEG)"):
            read_rgb(content[:length])


def test_a_png_with_a_wrong_bit_anywhere_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    photo, trimap = saved(PHOTO[:4, :4]), saved(TRIMAP[12:20, 12:20])
    read_rgb(photo)
    decode_trimap(trimap)
    for content, decoder in ((photo, read_rgb), (trimap, decode_trimap)):
        for place in range(8 * len(content)):
            wrong = bytearray(content)
            wrong[place // 8] ^= 1 << place % 8
            with pytest.raises(RefusedError, match=r"^(cannot be decoded|is not a )"):
                decoder(bytes(wrong))
    assert capfd.readouterr().err == ""  # where OpenCV's PNG library would tell its own words


def test_predict_takes_a_photo_as_it_is_displayed_or_refuses_it() -> None:
    for found in (case.image for case in CASES):
        if not isinstance(found.content, bytes):
            continue
        pixels = found.pixels if found.displayed is None else found.displayed
        if pixels is not None:
            assert np.array_equal(read_photo(found.content), pixels)
        elif found.reason != BROKEN:  # what Pillow, which it reads with, may mend
            with pytest.raises(PhotoError):
                read_photo(found.content)
