"""Verify and decode: from listed examples to the splits that a run uses."""

import contextlib
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from segmentation.config.training import DataConfig
from segmentation.data.cache import DecodedCache
from segmentation.data.dataset import PixelArray, SplitDataset
from segmentation.data.example import Example
from segmentation.data.images.examples import (
    DecodedExample,
    ExampleError,
    binary_mask,
    read_files,
)
from segmentation.data.images.reader import exif_orientation
from segmentation.data.sources import Source
from segmentation.data.splits import check_pet_share, find_duplicates, split
from segmentation.errors import ConfigError, DataError
from segmentation.utils.concurrency import Progress, in_parallel
from segmentation.utils.files import read_regular_file
from segmentation.utils.paths import printable

#: A split's pixels up to so many bytes are held in memory; more are read as they are needed.
IN_MEMORY = 64 * 2**20

#: The splits that a run uses, by name.
Splits = Mapping[str, SplitDataset]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _LoadedExample:
    """An example that was read and decoded, or the problem that it has."""

    split: str
    example: Example
    problem: str = ""
    unclear: str = ""  # values of its mask that could mean anything
    key: str = ""
    image_bytes: int = 0
    image_digest: str = ""
    content_digest: str = ""
    pet: int = 0  # pixels of pet, and those that count
    counted: int = 0
    turned: bool = False
    pixels: DecodedExample | None = None  # None where the split does not fit into memory


def load_data(
    config: DataConfig, source: Source, progress: Progress, *, with_gate: bool = False
) -> dict[str, SplitDataset]:
    """Choose, verify and decode the train and val splits, and the gate split where it is needed.

    Raises:
        ConfigError: more images are asked for than there are, or the gate split is empty.
        DataError: lists or files cannot be used.
    """
    chosen = split(source.trainval(), config)
    if with_gate and not chosen.gate:
        raise ConfigError(
            "the gate split, a fifth of the trainval list, has no image on which finalists could "
            "be compared; say confirm=0, or use more data"
        )
    # Of a picture that stands in several splits the first one keeps it: training comes last.
    parts = {"gate": chosen.gate, "val": chosen.val, "train": chosen.train}
    held_out: dict[str, Sequence[Example]] = {
        "gate": () if with_gate else parts.pop("gate"),
        "test": source.test(),
    }
    return load_splits(parts, held_out, config, progress)


def load_splits(
    parts: Mapping[str, Sequence[Example]],
    held_out: Mapping[str, Sequence[Example]],
    config: DataConfig,
    progress: Progress,
) -> dict[str, SplitDataset]:
    """Verify and decode the splits that a run uses.

    Every file is read, so that the digests say what is there now; decoded is only what the cache
    has not. Memory does not grow with the number of examples but for some hundred bytes each.

    Of a picture in two of the `parts` the first one keeps it; none may be in what is `held_out`.

    Raises:
        DataError: files cannot be used, or a picture stands in two splits (all are named), and
            `bad_examples` is `stop`; or nothing is left; or the masks cannot be pets.
    """
    cache = DecodedCache(config.image_size)
    pairs = [(name, example) for name, examples in parts.items() for example in examples]
    most = IN_MEMORY / (4 * cache.size**2)
    in_memory = {name for name, examples in parts.items() if len(examples) <= most}

    loaded = in_parallel(
        lambda pair: _load(*pair, cache, config.border, keep=pair[0] in in_memory), pairs, progress
    )
    duplicates = _duplicates(loaded, held_out)
    loaded = [
        dataclasses.replace(one, problem=duplicates.get(one.example.id, one.problem))
        for one in loaded
    ]
    problems = [one.problem for one in loaded if one.problem]
    if problems and config.bad_examples == "stop":
        raise DataError(
            f"{len(problems)} of {len(pairs)} examples cannot be used{_unclear_values(loaded)}; "
            "mend or remove them, or say bad_examples=skip to leave them out:",
            problems,
        )
    return {
        name: _split_dataset([one for one in loaded if one.split == name], cache, config)
        for name in parts
    }


def _unclear_values(loaded: Sequence[_LoadedExample]) -> str:
    """Say in how many masks there are which values that could mean anything; else nothing."""
    counts = Counter(one.unclear for one in loaded if one.unclear)
    text = "; ".join(f"{values} in {count} masks" for values, count in counts.most_common(5))
    return text and (
        f" (values that could mean anything: {text}; say which are foreground, such as "
        "foreground=1 or foreground=1,2, or from which one on, such as mask_threshold=128)"
    )


def _load(
    name: str, example: Example, cache: DecodedCache, border: str, *, keep: bool
) -> _LoadedExample:
    """Read and verify one example; keep its pixels or not."""
    try:
        content = read_files(example)
        key, pixels = cache.load(example, content)
    except ExampleError as error:
        wrong, unclear = str(error), error.unclear
        return _LoadedExample(split=name, example=example, problem=wrong, unclear=unclear)
    mask, valid = binary_mask(pixels.trimap, border)
    return _LoadedExample(
        split=name,
        example=example,
        key=key,
        image_bytes=len(content[0]),
        image_digest=hashlib.sha256(content[0]).hexdigest(),
        content_digest=hashlib.sha256(b"".join(content)).hexdigest(),
        pet=int(np.count_nonzero(mask)),
        counted=int(np.count_nonzero(valid)),
        turned=exif_orientation(content[0]) != 1,
        pixels=pixels if keep else None,
    )


def _duplicates(
    loaded: Sequence[_LoadedExample], held_out: Mapping[str, Sequence[Example]]
) -> dict[str, str]:
    """Find pictures that stand in two splits, comparing files byte by byte.

    Of the splits held out only files of a size that occurs in the others are read at all.
    """
    good = [one for one in loaded if not one.problem]
    sizes = {one.image_bytes for one in good}
    files = []
    for name, examples in held_out.items():
        for example in examples:
            with contextlib.suppress(OSError):  # what cannot be read is nobody's picture
                if example.image.stat().st_size in sizes:
                    digest = hashlib.sha256(read_regular_file(example.image)).hexdigest()
                    files.append((name, example, digest))
    files += [(one.split, one.example, one.image_digest) for one in good]
    return find_duplicates(files)


def _split_dataset(
    loaded: Sequence[_LoadedExample], cache: DecodedCache, config: DataConfig
) -> SplitDataset:
    """Put the usable examples of one split together."""
    name = loaded[0].split
    good = [one for one in loaded if not one.problem]
    problems = tuple(one.problem for one in loaded if one.problem)
    if not good:
        raise DataError(
            f"none of the {len(loaded)} examples of the {name} split can be used:", problems
        )
    counted = sum(one.counted for one in good)
    check_pet_share(name, sum(one.pet for one in good) / max(1, counted), good[0].example.labels)
    in_order = sorted(good, key=lambda one: one.example.id)
    contents = (f"{one.example.id} {one.content_digest}\n" for one in in_order)
    held = [one.pixels for one in good if one.pixels is not None]
    return SplitDataset(
        name=name,
        examples=tuple(one.example for one in good),
        pixels=PixelArray(
            cache,
            [(one.example, one.key) for one in good],
            config.border,
            held if len(held) == len(good) else None,
        ),
        digests=tuple(one.image_digest for one in good),
        digest=hashlib.sha256("".join(contents).encode()).hexdigest(),
        problems=problems,
        turned=tuple(printable(one.example.image.name) for one in good if one.turned),
        empty=sum(not one.pet for one in good),
    )
