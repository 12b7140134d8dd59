"""Hostile, broken and odd data: used rightly or refused by name, as README.md says of each kind."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from segmentation.config.training import DataConfig
from segmentation.data.images.examples import (
    COUNTS_BIT,
    PET_BIT,
    ExampleError,
    decode_image,
    decode_trimap,
)
from segmentation.data.loading import load_splits
from segmentation.data.oxford_pets import LISTS, Example, read_list
from segmentation.data.photo_folder import PredictOptions, find_photos
from segmentation.data.prepare.verification import verify
from segmentation.errors import DataError
from segmentation.models.predictor import OneByOne
from segmentation.tracking.registry.photo_model import PhotoError, read_photo
from segmentation.workflows.predict import write_masks
from tests.helpers.corpus import Bytes, Case, put, write
from tests.helpers.corpus_archives import archives, tried
from tests.helpers.corpus_cases import cases, photos
from tests.helpers.corpus_lists import Listed, lists
from tests.helpers.corpus_table import misnamed, misread, seen_files

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, 10))]


def silent(done: int, total: int) -> None:
    """Tell nobody."""


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, list[Case]]:
    """The corpus of seed 0 on disk."""
    return tmp_path / "pets", written(tmp_path, 0)


def written(folder: Path, seed: int) -> list[Case]:
    made = cases(seed)
    write(folder / "pets", made)
    return made


def examples_of(root: Path) -> dict[str, Example]:
    return {example.id: example for name in LISTS for example in read_list(root, name)}


def test_the_corpus_is_large_and_its_seed_makes_it() -> None:
    first, again, other = cases(0), cases(0), cases(1)
    assert len(first) >= 200
    assert len({case.id for case in first}) == len(first)

    def contents(made: list[Case]) -> list[bytes]:
        files = [file.content for case in made for file in (case.image, case.trimap)]
        return [content for content in files if isinstance(content, bytes)]

    assert contents(first) == contents(again)
    assert contents(first) != contents(other)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_file_is_used_with_its_pixels_or_refused_by_name(tmp_path: Path, seed: int) -> None:
    made = written(tmp_path, seed)
    assert [one.wrong for one in seen_files(tmp_path / "pets", made) if one.wrong] == []
    report = verify(tmp_path / "pets", silent)
    assert len(report.problems) == sum(bool(case.refusals) for case in made)


def test_a_training_hears_of_all_offenders_at_once(corpus: tuple[Path, list[Case]]) -> None:
    root, made = corpus
    examples = list(examples_of(root).values())
    config = DataConfig(image_size=32)
    with pytest.raises(DataError) as raised:
        load_splits({"train": examples}, {}, config, silent)
    problems = raised.value.problems
    refused = [case for case in made if case.refusals]
    assert len(problems) == len(refused)
    for case in refused:
        lines = [
            line for line in problems if f"{case.id}.jpg: " in line or f"{case.id}.png: " in line
        ]
        assert misnamed(case, lines) == ""


@pytest.mark.parametrize("border", ["pet", "ignore"])
def test_what_is_left_has_exactly_its_own_pixels_and_labels(
    corpus: tuple[Path, list[Case]], border: str
) -> None:
    root, made = corpus
    examples = examples_of(root)
    config = DataConfig(image_size=32, border=border, bad_examples="skip")  # type: ignore[arg-type]
    decoded = load_splits({"train": list(examples.values())}, {}, config, silent)["train"]
    used = {case.id: case for case in made if not case.refusals}
    assert {example.id for example in decoded.examples} == set(used)
    for position, example in enumerate(decoded.examples):
        case = used[example.id]
        assert example.species == ("cat", "dog")[case.species - 1]
        image, flags = decoded.pixels[position]
        assert case.image.pixels is not None
        assert case.trimap.pixels is not None
        trimap = at_32_pixels(case.trimap.pixels)
        pet = (trimap == 1) | ((trimap == 3) & (border == "pet"))
        counts = (trimap != 3) | (border == "pet")
        assert np.array_equal(flags, PET_BIT * pet + COUNTS_BIT * counts), case.id
        if trimap.shape == case.trimap.pixels.shape:  # not resized
            apart = np.abs(image.astype(int) - case.image.pixels).max()
            assert apart <= case.image.near, case.id


def at_32_pixels(trimap: Bytes) -> Bytes:
    """The label in the middle of each of 32 x 32 parts, by whole numbers."""
    height, width = trimap.shape
    steps = 2 * np.arange(32) + 1
    return trimap[np.ix_(steps * height // 64, steps * width // 64)]


def test_files_that_cannot_be_read_in_other_splits_stop_nobody(
    corpus: tuple[Path, list[Case]],
) -> None:
    root, made = corpus
    examples = examples_of(root)
    good = [examples[case.id] for case in made if not case.refusals]
    bad = [examples[case.id] for case in made if case.refusals]
    splits = load_splits({"train": good}, {"gate": bad}, DataConfig(image_size=32), silent)
    assert len(splits["train"]) == len(good)


@pytest.mark.parametrize("listed", lists(), ids=lambda listed: listed.kind)
def test_every_list_is_read_or_refused_line_by_line(tmp_path: Path, listed: Listed) -> None:
    (tmp_path / "annotations").mkdir()
    put(tmp_path / "annotations" / "trainval.txt", listed.content)
    assert misread(tmp_path, listed) == ""


@pytest.mark.parametrize("kind", archives())
def test_a_bad_archive_is_refused_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, kind: str
) -> None:
    good = tmp_path / "good"
    write(good, [case for case in cases(0) if not case.refusals][:10])
    assert tried(kind, good, tmp_path / "place") == ""


def bright(photo: Tensor) -> Tensor:
    """A model: what is bright is pet."""
    return photo.float().mean(dim=1, keepdim=True) / 255


def test_predict_names_every_photo_that_it_cannot_take(tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    names = {}
    for number, found in enumerate(photos(0)):
        path = album / f"{number:03}.jpg"
        put(path, found.content)
        if os.path.lexists(path) and not path.is_dir():
            names[path.name] = found
    wanted = PredictOptions(output=tmp_path / "out")
    tasks, _ = find_photos(album, wanted.output)
    assert [str(task.name) for task in tasks] == list(names)
    done = write_masks(OneByOne(bright, "bright"), tasks, wanted, silent)
    bad = {problem.partition(" ")[0] for problem in done.problems}
    assert len(bad) == len(done.problems)
    for name, found in names.items():
        taken = found.pixels is not None or found.displayed is not None
        if not found.taken:
            assert (name in bad) != taken, (name, found.kind)
        assert (tmp_path / "out" / "masks" / f"{name[:-4]}.png").exists() == (name not in bad)


@pytest.mark.parametrize("seed", SEEDS)
def test_predict_takes_a_photo_as_it_is_displayed(seed: int) -> None:
    for found in photos(seed):
        pixels = found.pixels if found.displayed is None else found.displayed
        if pixels is None or not isinstance(found.content, bytes):
            continue
        got = read_photo(found.content)
        assert got.shape == pixels.shape, found.kind
        assert np.abs(got.astype(int) - pixels).max() <= found.near, found.kind


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.full)])
def test_whatever_the_bytes_are_the_end_is_pixels_or_a_refusal(count: int) -> None:
    for content in changed(count):
        for decoder in (decode_image, decode_trimap):
            try:
                told = f"pet.file: {decoder(content, Path('pet.file')).dtype}"
            except ExampleError as error:
                told = str(error)
            assert told.startswith("pet.file: ")
        with contextlib.suppress(PhotoError):
            assert read_photo(content).dtype == np.uint8


def changed(count: int) -> Iterator[bytes]:
    """Files of the corpus with some bytes changed, left out or put in."""
    random = np.random.default_rng(count)
    files = [file.content for case in cases(0) for file in (case.image, case.trimap)]
    contents = [content for content in files if isinstance(content, bytes) and content]
    for _ in range(count):
        content = bytearray(contents[random.integers(len(contents))])
        for _ in range(random.integers(1, 5)):
            place = int(random.integers(len(content) + 1))
            gone = int(random.integers(4))
            content[place : place + gone] = random.bytes(int(random.integers(4)))
        yield bytes(content)
