"""Verify and decode once: from listed examples to one split in memory, as uint8."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.config import DataConfig
from segmentation.errors import DataError
from segmentation.parallel import Progress, in_parallel
from segmentation.pets import Example
from segmentation.pixels import ExampleError, binary_mask, decode, read_files
from segmentation.splits import check_pet_share, find_twins
from segmentation.unet import resize_image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoded:
    """One split in memory.

    Attributes:
        name: `train`, `val`, ...
        examples: N of them, in the order of the arrays.
        files: of `val` alone the contents of image and trimap, N pairs: the finished model is
            judged on these very bytes, whatever has become of the files by then.
        images: uint8 (N, S, S, 3), RGB.
        masks: uint8 (N, S, S, 2) in {0, 1}: the mask, and the pixels that count.
        digests: SHA-256 of each image file, hexadecimal.
        digest: SHA-256 over ids and files, hexadecimal.
        problems: one line for each example left out.
    """

    name: str
    examples: tuple[Example, ...]
    files: tuple[tuple[bytes, bytes], ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    digests: tuple[str, ...]
    digest: str
    problems: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.examples)

    def pet_share(self) -> float:
        """Return the share of pet among the pixels that count, in [0, 1]."""
        counted = int(self.masks[..., 1].sum(dtype=np.int64))
        return int(self.masks[..., 0].sum(dtype=np.int64)) / max(1, counted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Outcome:
    """An example decoded to the working size, or the reason why not."""

    example: Example
    problem: str = ""
    files: tuple[bytes, bytes] = (b"", b"")
    image: NDArray[np.uint8] | None = None
    masks: NDArray[np.uint8] | None = None

    def image_digest(self) -> str:
        return hashlib.sha256(self.files[0]).hexdigest()


def load_splits(
    parts: Mapping[str, Sequence[Example]],
    kept_apart: Mapping[str, Sequence[Example]],
    config: DataConfig,
    progress: Progress,
) -> dict[str, Decoded]:
    """Verify and decode the splits that a run uses.

    Args:
        parts: the examples of each split; of a picture in two of them, the first one keeps it.
        kept_apart: other splits, of which no picture may be in `parts`.
        config: the working size, the border's meaning, and what to do about bad examples.
        progress: told how far it is.

    Raises:
        DataError: files cannot be used, or a picture stands in two splits (all are named), and
            `bad_examples` is `stop`; or nothing is left; or the masks cannot be pets.
    """
    pairs = [(name, example) for name, examples in parts.items() for example in examples]
    outcomes = in_parallel(lambda pair: _decode_one(pair[1], config), pairs, progress)
    names = [name for name, _ in pairs]
    twins = _twins(list(zip(names, outcomes, strict=True)), kept_apart)
    outcomes = [
        _Outcome(example=o.example, problem=twins[o.example.id]) if o.example.id in twins else o
        for o in outcomes
    ]
    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    if problems and config.bad_examples == "stop":
        raise DataError(
            f"{len(problems)} of {len(pairs)} examples cannot be used; mend them or remove them "
            "from the lists, or say bad_examples=skip to leave them out:",
            problems,
        )
    return {
        part: _gather(part, [o for name, o in zip(names, outcomes, strict=True) if name == part])
        for part in parts
    }


def _twins(
    outcomes: Sequence[tuple[str, _Outcome]], kept_apart: Mapping[str, Sequence[Example]]
) -> dict[str, str]:
    """Find pictures that stand in two splits, comparing files byte by byte.

    Of the splits kept apart only files of a size that occurs in the others are read at all.
    """
    good = [(name, outcome) for name, outcome in outcomes if not outcome.problem]
    sizes = {len(outcome.files[0]) for _, outcome in good}
    files = []
    for name, examples in kept_apart.items():
        for example in examples:
            if example.image.is_file() and example.image.stat().st_size in sizes:
                digest = hashlib.sha256(example.image.read_bytes()).hexdigest()
                files.append((name, example, digest))
    files += [(name, outcome.example, outcome.image_digest()) for name, outcome in good]
    return find_twins(files)


def _decode_one(example: Example, config: DataConfig) -> _Outcome:
    """Read, verify and resize one example."""
    try:
        files = read_files(example)
        pixels = decode(example, *files)
    except ExampleError as error:
        return _Outcome(example=example, problem=str(error))
    masks = np.stack(binary_mask(pixels.trimap, config.border), axis=-1)
    image = resize_image(torch.from_numpy(pixels.image).permute(2, 0, 1)[None], config.image_size)
    return _Outcome(
        example=example,
        files=files,
        image=image[0].round().clamp(0, 255).byte().permute(1, 2, 0).numpy(),
        masks=nearest(masks, config.image_size),
    )


def nearest(masks: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize uint8 (H, W, C) to (size, size, C), taking the pixel under each new one's centre."""
    rows = ((np.arange(size) + 0.5) * masks.shape[0] / size).astype(np.intp)
    columns = ((np.arange(size) + 0.5) * masks.shape[1] / size).astype(np.intp)
    return np.ascontiguousarray(masks[rows[:, None], columns])


def _gather(name: str, results: list[_Outcome]) -> Decoded:
    """Stack the usable outcomes of one split."""
    good = [o for o in results if o.image is not None and o.masks is not None]
    if not good:
        raise DataError(
            f"none of the {len(results)} examples of the {name} split can be used:",
            [outcome.problem for outcome in results],
        )
    whole = hashlib.sha256()
    for outcome in sorted(good, key=lambda o: o.example.id):
        content = hashlib.sha256(b"".join(outcome.files)).hexdigest()
        whole.update(f"{outcome.example.id} {content}\n".encode())
    decoded = Decoded(
        name=name,
        examples=tuple(outcome.example for outcome in good),
        files=tuple(outcome.files for outcome in good) if name == "val" else (),
        images=np.stack([o.image for o in good if o.image is not None]),
        masks=np.stack([o.masks for o in good if o.masks is not None]),
        digests=tuple(outcome.image_digest() for outcome in good),
        digest=whole.hexdigest(),
        problems=tuple(outcome.problem for outcome in results if outcome.problem),
    )
    check_pet_share(name, decoded.pet_share())
    return decoded
