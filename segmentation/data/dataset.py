"""A split after decoding: who is in it, and its pixels, which need not fit into memory."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from segmentation.data.cache import DecodedCache
from segmentation.data.example import Example
from segmentation.data.images.examples import (
    Bytes,
    DecodedExample,
    ExampleError,
    flags_of,
    read_files,
)
from segmentation.errors import DataError


class PixelArray:
    """The pixels of N examples, in order."""

    def __init__(
        self,
        cache: DecodedCache,
        examples: Sequence[tuple[Example, str]],
        border: str,
        held: Sequence[DecodedExample] | None,
    ) -> None:
        """Take N examples, each with its key in the cache, and their pixels if memory holds them.

        `border` says what the trimap's border counts as.
        """
        self.size = cache.size
        self._cache, self._examples = cache, tuple(examples)
        self._flags = flags_of(border)
        self._held: tuple[Bytes, Bytes] | None = None
        if held is not None:  # loader processes get copies: containers have little shared memory
            images = np.stack([pixels.image for pixels in held])
            self._held = images, self._flags[np.stack([pixels.trimap for pixels in held])]

    def __len__(self) -> int:
        return len(self._examples)

    def gather(self, positions: Sequence[int]) -> tuple[Bytes, Bytes]:
        """Return images, uint8 (K, S, S, 3) RGB, and their flags, uint8 (K, S, S).

        Raises:
            DataError: one is not in memory or cache any more, and its files were changed.
        """
        if self._held is not None:
            images, flags = self._held
            return images[positions], flags[positions]
        read = [self._read(*self._examples[position]) for position in positions]
        trimaps = np.stack([pixels.trimap for pixels in read])
        return np.stack([pixels.image for pixels in read]), self._flags[trimaps]

    def _read(self, example: Example, key: str) -> DecodedExample:
        pixels = self._cache.read(key)
        if pixels is not None:
            return pixels
        try:
            new_key, pixels = self._cache.load(example, read_files(example))
        except ExampleError as error:
            raise DataError(f"{error}; it was usable when this began") from error
        if new_key != key:
            raise DataError(
                f"{example.image}: it or its mask was changed while it was in use; run again"
            )
        return pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitDataset:
    name: str  # `train`, `val`, ...
    examples: tuple[Example, ...]  # in the order of the pixels
    pixels: PixelArray
    digests: tuple[str, ...]  # SHA-256 of each image file, hexadecimal
    digest: str  # SHA-256 over ids and files, hexadecimal
    problems: tuple[str, ...]  # one line for each example left out
    turned: tuple[str, ...] = ()  # the names of images that EXIF says are to be turned
    empty: int = 0  # how many have no foreground, at the size of the pixels

    def __len__(self) -> int:
        return len(self.examples)
