"""Decoding, verification and the batches that training sees."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segmentation.config.training import TrainingConfig
from segmentation.data.images.examples import COUNTS_BIT, PET_BIT
from segmentation.data.loader import BatchLoader, require_shared_memory
from segmentation.data.oxford_pets import read_lists
from segmentation.data.splits import split
from segmentation.errors import ConfigError, DataError
from segmentation.evaluation.scoring import evaluate
from segmentation.models.predictor import OneByOne
from segmentation.runtime.sharding import FULL, Shard
from tests.helpers.quick import SMALL_DATA, Data, loaded


def test_nothing_but_bad_examples_is_an_error_even_when_skipping(own_pets: Path) -> None:
    for file in (own_pets / "images").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="none of the"):
        loaded(own_pets, bad_examples="skip")


@pytest.mark.parametrize("apart", ["val", "gate", "test"])
def test_a_photo_of_another_split_may_not_train(own_pets: Path, apart: str) -> None:
    parts = loaded(own_pets)
    twin = parts["train"].examples[0]
    lists = read_lists(own_pets)
    gate = split(lists["trainval"], SMALL_DATA).gate
    seen = {**lists, "gate": gate, "val": parts["val"].examples}[apart][0]
    shutil.copy(seen.image, twin.image)
    shutil.copy(seen.mask, twin.mask)
    expected = rf"{twin.id}\.jpg: the same picture as .*{seen.id}\.jpg, .* the {apart} "
    with pytest.raises(DataError, match=expected):
        loaded(own_pets)
    left = loaded(own_pets, bad_examples="skip")
    assert twin not in left["train"].examples
    assert left["val"].examples == parts["val"].examples


def test_a_model_is_not_judged_on_some_of_the_images_alone(own_pets: Path) -> None:
    val = loaded(own_pets)["val"]
    val.examples[0].image.unlink()
    model = OneByOne(lambda image: torch.ones_like(image[:, :1], dtype=torch.float32), "all pet")
    with pytest.raises(DataError, match=r"images of the val split cannot be used:\n.*No such file"):
        evaluate("val", model, val.examples, "pet", lambda _: None)


@pytest.mark.parametrize(
    ("value", "border", "share"),
    [(1, "pet", "100.0%"), (2, "pet", "0.9%"), (3, "background", "0.9%"), (3, "ignore", "100.0%")],
)
def test_trimaps_that_are_all_pet_or_hardly_any_are_refused(
    own_pets: Path, value: int, border: str, share: str
) -> None:
    for path in (own_pets / "annotations" / "trimaps").iterdir():
        pixels = np.full_like(np.array(Image.open(path)), value)
        pixels[:20, :20] = 1  # enough to be seen at 32 x 32 pixels
        Image.fromarray(pixels).save(path)
    expected = f"{share} of the pixels of the val split are pet; expected 2% to 95%"
    with pytest.raises(DataError, match=expected):
        loaded(own_pets, border=border)


def test_an_epoch_shows_each_image_once_and_the_next_in_another_order(data: Data) -> None:
    config = TrainingConfig(batch_size=5, augment="none")
    batches = BatchLoader(data["train"], data["val"], config)
    images, _ = data["train"].pixels.gather(range(12))
    shown = sorted(image.tobytes() for image in images)
    orders = []
    for epoch in (1, 2):
        seen = torch.cat([batch.image for batch in batches.epoch(epoch)])
        orders.append([image.numpy().tobytes() for image in seen.permute(0, 2, 3, 1).contiguous()])
        assert sorted(orders[-1]) == shown
    assert orders[0] != orders[1]
    sizes = [len(batch.image) for batch in batches.epoch(3)]
    assert sizes == [5, 5, 2]
    assert len(batches) == 3


def test_batches_that_are_prepared_ahead_as_for_a_gpu_are_the_same(data: Data) -> None:
    config = TrainingConfig(batch_size=5)
    plain, ahead = (BatchLoader(data["train"], data["val"], config) for _ in range(2))
    ahead.ahead = True
    for one, other in zip(plain.epoch(1), ahead.epoch(1), strict=True):
        assert all(map(torch.equal, one, other))


def test_processes_see_each_image_once_varied_alike_whoever_has_it(data: Data) -> None:
    """The last batch of 12 by 5 has two images: one of three processes has none."""
    config = TrainingConfig(batch_size=5)

    def seen(shard: Shard) -> list[bytes]:
        batches = list(BatchLoader(data["train"], data["val"], config, shard).epoch(1))
        pairs = [pair for b in batches for pair in zip(b.image, b.valid, strict=True)]
        return [image.numpy().tobytes() for image, valid in pairs if valid.any()]

    several = [image for rank in range(3) for image in seen(Shard(rank=rank, size=3))]
    assert sorted(several) == sorted(seen(FULL))


def test_shared_memory_that_is_too_small_is_told_before_anything_begins() -> None:
    with pytest.raises(ConfigError, match=r"=999999999: takes .*, or start .* --shm-size"):
        require_shared_memory(999_999_999)
    require_shared_memory(0)


def test_pixels_are_decoded_to_the_working_size(data: Data) -> None:
    train = data["train"]
    images, flags = train.pixels.gather(range(12))
    assert images.shape == (12, 32, 32, 3)
    assert flags.shape == (12, 32, 32)
    assert set(np.unique(flags)) == {COUNTS_BIT, COUNTS_BIT | PET_BIT}
    for example, own in zip(train.examples, flags, strict=True):
        trimap = np.asarray(Image.open(example.mask))
        assert (own & PET_BIT == 1).mean() == pytest.approx((trimap != 2).mean(), abs=0.05)


def test_an_images_variants_do_not_depend_on_which_others_there_are(own_pets: Path) -> None:
    config = TrainingConfig(batch_size=50)
    whole = loaded(own_pets)
    left_out = whole["train"].examples[0]
    left_out.image.write_bytes(b"")
    fewer = loaded(own_pets, bad_examples="skip")
    variants = []
    for parts in (whole, fewer):
        (batch,) = BatchLoader(parts["train"], parts["val"], config).epoch(1)
        variants.append({image.numpy().tobytes() for image in batch.image})
    assert variants[1] < variants[0]
