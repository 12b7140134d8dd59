"""A person's own pipeline of Albumentations: used by seed, refused where it would not do."""

import dataclasses
import warnings
from pathlib import Path

import albumentations as A  # noqa: N812  # as its users call it
import numpy as np
import pytest
import torch

from segmentation.config.training import TrainingConfig
from segmentation.data.augmentation.pipeline import Pipeline
from segmentation.data.augmentation.transforms import Augmenter, own_pipeline
from segmentation.data.loader import BatchLoader
from segmentation.errors import ConfigError
from tests.helpers.quick import Data

MANY = A.Compose(
    [
        A.HorizontalFlip(p=0.5),
        A.OneOf([A.Affine(rotate=(-40, 40), p=1), A.ElasticTransform(p=1)], p=1),
        A.SomeOf([A.Blur(p=1), A.CoarseDropout(p=1), A.RandomGamma(p=1)], n=2, p=1),
        A.HueSaturationValue(p=1),
    ]
)


def saved(path: Path, transform: object) -> str:
    A.save(transform, path, data_format="yaml" if path.suffix == ".yaml" else "json")
    return str(path)


@pytest.mark.parametrize("name", ["own.json", "own.yaml"])
def test_a_saved_pipeline_varies_by_seed_and_epoch(tmp_path: Path, name: str, data: Data) -> None:
    file = saved(tmp_path / name, MANY)
    config = TrainingConfig(batch_size=5, augment=file)

    def batches(epoch: int, size: int = 0, **changes: object) -> list[torch.Tensor]:
        now = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
        own = own_pipeline(file, 32)
        loader = BatchLoader(data["train"], data["val"], now, augmentation=own)
        return [tensor for batch in loader.epoch(epoch, size) for tensor in batch]

    def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
        return all(map(torch.equal, one, other))

    assert same(batches(1), batches(1))
    assert not same(batches(1)[:1], batches(2)[:1])
    assert not same(batches(1)[:1], batches(1, seed=1)[:1])
    small = batches(1, size=16)
    assert small[0].shape[-2:] == small[1].shape[-2:] == (16, 16)


def test_mask_and_photo_move_together_and_255_of_a_mask_counts_nowhere(tmp_path: Path) -> None:
    turn = A.Compose([A.Affine(translate_px=(8, 8), p=1, fill_mask=255), A.VerticalFlip(p=1)])
    augment = Augmenter("own", 0, Pipeline(saved(tmp_path / "own.json", turn), 32))
    flags = np.full((1, 32, 32), 2, np.uint8)
    flags[0, 4:10, 4:10] = 3
    image = np.where(flags[..., None] == 3, 255, 9).astype(np.uint8).repeat(3, axis=-1)
    moved, found = augment(image, flags, 1, [0], 32)
    expected = np.full((32, 32), 2, np.uint8)
    expected[:8] = expected[:, :8] = 0  # from outside
    expected[12:18, 12:18] = 3
    assert np.array_equal(found[0], expected[::-1])
    assert np.array_equal(moved[0, ..., 0] == 255, found[0] == 3)


class Mine(A.HorizontalFlip):  # type: ignore[misc]
    pass


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    LAMBDA = A.Lambda(name="mine", image=print)
CROP = A.RandomCrop(32, 32)
BAD = {
    "has Lambda": A.Compose([A.OneOf([LAMBDA, A.Blur()])]),
    "has tests.unit.data.test_pipeline.Mine": A.Compose([Mine()]),
    "of 64 x 64 pixels it makes [((32, 32, 3), 'uint8'), ((32, 32), 'uint8')]": CROP,
    "of 64 x 64 pixels it makes [((64, 64, 3), 'float32')": A.Normalize(),
    "masks get other values than 0, 1 and 255": A.Affine(rotate=30, mask_interpolation=1, p=1),
    "TextImage requires ['textimage_metadata']": A.TextImage(font_path="x", p=1),
}
TEXTS = {
    "is no saved pipeline": "[]",
    "could not determine a constructor": "transform: !!python/object/apply:os.getcwd []",
    "has os.system": '{"transform": {"__class_fullname__": "os.system", "p": 1}}',
    "Argument(s) 'x' are": '{"transform": {"__class_fullname__": "Blur", "p": 1, "x": 1}}',
    "recursion": "[" * 100_000,
}


@pytest.mark.parametrize("said", [*BAD, *TEXTS])
def test_what_would_not_do_is_refused_in_one_sentence(tmp_path: Path, said: str) -> None:
    path = tmp_path / "own.json"
    if said in BAD:
        saved(path, BAD[said])
    else:
        path.write_text(TEXTS[said])
    with pytest.raises(ConfigError) as raised:
        own_pipeline(str(path), 64)
    text = str(raised.value)
    assert text.startswith(f"augment={path}: ")
    assert said in text
    assert text.endswith("for photos and masks, as `albumentations.save` writes them")
    assert "\n" not in text


def test_what_goes_wrong_in_the_midst_is_told_in_the_same_sentence(
    tmp_path: Path, data: Data
) -> None:
    file = saved(tmp_path / "own.json", A.RandomCrop(16, 16, p=1))
    config, own = TrainingConfig(batch_size=5, augment=file), Pipeline(file, 16)
    batches = BatchLoader(data["train"], data["val"], config, augmentation=own)
    with pytest.raises(ConfigError, match="of 32 x 32 pixels it makes"):
        next(iter(batches.epoch(1)))
