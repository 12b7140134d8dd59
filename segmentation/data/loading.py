"""Verify and decode: from listed examples to the splits that a run uses.

What was decoded before, by whatever run, is taken from the store on disk.
"""

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.config.training import DataConfig
from segmentation.data.cache import Entry, PixelStore
from segmentation.data.cache_file import DamagedError
from segmentation.data.dataset import FileBlobs, PixelArray, SplitDataset
from segmentation.data.images.examples import BORDER, PET, ExampleError, decode, read_files
from segmentation.data.oxford_pets import Example
from segmentation.data.splits import check_pet_share, find_duplicates
from segmentation.errors import DataError
from segmentation.models.unet import resize_image
from segmentation.utils.concurrency import CORES, Progress, batched, prefetch
from segmentation.utils.reading import read_regular_file

_AT_ONCE = 32  # examples of one transaction


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outcome:
    """What is remembered of an example that was looked at; its pixels are in the store."""

    split: str
    example: Example
    problem: str = ""
    key: bytes = b""
    image_bytes: int = 0
    image_digest: str = ""
    content_digest: str = ""
    pet: int = 0
    border: int = 0


def load_splits(
    parts: Mapping[str, Sequence[Example]],
    kept_apart: Mapping[str, Sequence[Example]],
    config: DataConfig,
    progress: Progress,
) -> dict[str, SplitDataset]:
    """Verify and decode the splits that a run uses.

    Every file is read, so that the digests say what is there now; decoded is only what the store
    has not. Memory does not grow with the number of examples but for some hundred bytes each.

    Args:
        parts: the examples of each split; of a picture in two of them, the first one keeps it.
        kept_apart: other splits, of which no picture may be in `parts`.
        config: the working size, the border's meaning, and what to do about bad examples.
        progress: told how far it is.

    Raises:
        DataError: files cannot be used, or a picture stands in two splits (all are named), and
            `bad_examples` is `stop`; or nothing is left; or the masks cannot be pets; or the
            store cannot be written.
    """
    pairs = [(name, example) for name, examples in parts.items() for example in examples]
    try:
        loaded = _load(pairs, kept_apart, config, progress)
    except DamagedError:  # what was damaged or replaced is found missing now, and decoded
        loaded = _load(pairs, kept_apart, config, progress)
    return {part: loaded[part] for part in parts}


def _load(
    pairs: Sequence[tuple[str, Example]],
    kept_apart: Mapping[str, Sequence[Example]],
    config: DataConfig,
    progress: Progress,
) -> dict[str, SplitDataset]:
    store = PixelStore(config.image_size)
    files = FileBlobs()
    outcomes = _look_at(pairs, store, files, progress)
    twins = _duplicates(outcomes, kept_apart)
    outcomes = [
        dataclasses.replace(o, problem=twins.get(o.example.id, o.problem)) for o in outcomes
    ]
    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    if problems and config.bad_examples == "stop":
        raise DataError(
            f"{len(problems)} of {len(pairs)} examples cannot be used; mend them or remove them "
            "from the lists, or say bad_examples=skip to leave them out:",
            problems,
        )
    return {
        part: _gather(part, [o for o in outcomes if o.split == part], store, files, config.border)
        for part in dict.fromkeys(name for name, _ in pairs)
    }


def _look_at(
    pairs: Sequence[tuple[str, Example]], store: PixelStore, files: FileBlobs, progress: Progress
) -> list[_Outcome]:
    """Read each example, in threads, and put into the store what it has not."""

    def look(pair: tuple[str, Example]) -> tuple[_Outcome, Entry | None]:
        return _look_at_one(*pair, store, files)

    outcomes: list[_Outcome] = []
    for some in batched(prefetch(look, pairs, CORES), _AT_ONCE):
        store.add((outcome.key, entry) for outcome, entry in some if entry is not None)
        outcomes += [outcome for outcome, _ in some]
        progress(len(outcomes), len(pairs))
    return outcomes


def _look_at_one(
    name: str, example: Example, store: PixelStore, files: FileBlobs
) -> tuple[_Outcome, Entry | None]:
    """Read and verify one example; return also its pixels if the store has not got them."""
    new = None
    try:
        pair = read_files(example)
        key = store.key(pair)
        found = store.find(key)
        if found is None:
            found = new = _decode_one(example, pair, store.size)
    except ExampleError as error:
        return _Outcome(split=name, example=example, problem=str(error)), None
    if name == "val":
        files.add(example, pair)
    outcome = _Outcome(
        split=name,
        example=example,
        key=key,
        image_bytes=len(pair[0]),
        image_digest=hashlib.sha256(pair[0]).hexdigest(),
        content_digest=hashlib.sha256(b"".join(pair)).hexdigest(),
        pet=found.pet,
        border=found.border,
    )
    return outcome, new


def _duplicates(
    outcomes: Sequence[_Outcome], kept_apart: Mapping[str, Sequence[Example]]
) -> dict[str, str]:
    """Find pictures that stand in two splits, comparing files byte by byte.

    Of the splits kept apart only files of a size that occurs in the others are read at all.
    """
    good = [outcome for outcome in outcomes if not outcome.problem]
    sizes = {outcome.image_bytes for outcome in good}
    files = []
    for name, examples in kept_apart.items():
        for example in examples:
            with contextlib.suppress(OSError):  # what cannot be read is nobody's picture
                if example.image.stat().st_size in sizes:
                    digest = hashlib.sha256(read_regular_file(example.image)).hexdigest()
                    files.append((name, example, digest))
    files += [(outcome.split, outcome.example, outcome.image_digest) for outcome in good]
    return find_duplicates(files)


def _decode_one(example: Example, files: tuple[bytes, bytes], size: int) -> Entry:
    """Decode and resize one example."""
    pixels = decode(example, *files)
    image = resize_image(torch.from_numpy(pixels.image).permute(2, 0, 1)[None], size)
    trimap = nearest(pixels.trimap, size)
    rounded = image[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous()
    return Entry(
        pixels=rounded.numpy().tobytes() + trimap.tobytes(),
        pet=int((trimap == PET).sum()),
        border=int((trimap == BORDER).sum()),
    )


def nearest(trimap: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize uint8 (H, W) to (size, size), taking the pixel under each new one's centre."""
    rows = ((np.arange(size) + 0.5) * trimap.shape[0] / size).astype(np.intp)
    columns = ((np.arange(size) + 0.5) * trimap.shape[1] / size).astype(np.intp)
    return np.ascontiguousarray(trimap[rows[:, None], columns])


def _gather(
    name: str, outcomes: Sequence[_Outcome], store: PixelStore, files: FileBlobs, border: str
) -> SplitDataset:
    """Put the usable examples of one split together."""
    good = [outcome for outcome in outcomes if not outcome.problem]
    problems = tuple(outcome.problem for outcome in outcomes if outcome.problem)
    if not good:
        raise DataError(
            f"none of the {len(outcomes)} examples of the {name} split can be used:", problems
        )
    whole = hashlib.sha256()
    for outcome in sorted(good, key=lambda o: o.example.id):
        whole.update(f"{outcome.example.id} {outcome.content_digest}\n".encode())
    borders = sum(outcome.border for outcome in good)
    pet = sum(outcome.pet for outcome in good) + (borders if border == "pet" else 0)
    counted = len(good) * store.size**2 - (borders if border == "ignore" else 0)
    share = pet / max(1, counted)
    check_pet_share(name, share)
    return SplitDataset(
        name=name,
        examples=tuple(outcome.example for outcome in good),
        pixels=PixelArray(store, [outcome.key for outcome in good], border),
        files=files,
        digests=tuple(outcome.image_digest for outcome in good),
        digest=whole.hexdigest(),
        pet_share=share,
        problems=problems,
    )
