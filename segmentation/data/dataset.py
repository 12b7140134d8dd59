"""A split after decoding: who is in it, and its pixels, which need not fit into memory."""

import dataclasses
import tempfile
import threading
import weakref
from collections.abc import Sequence
from typing import BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray

from segmentation.data.cache import PixelStore
from segmentation.data.images.examples import flags_of
from segmentation.data.oxford_pets import Example

Bytes = NDArray[np.uint8]

#: Pixels up to so many bytes are held in memory; more are read from the store as they are needed.
IN_MEMORY = 64 * 2**20


class PixelArray:
    """The pixels of N examples, in order."""

    def __init__(self, store: PixelStore, keys: Sequence[bytes], border: str) -> None:
        """Read few examples into memory; leave many where they are.

        Args:
            store: holds all of them.
            keys: of each.
            border: what the trimap's border counts as.
        """
        self.size = store.size
        self._store, self._keys = store, tuple(keys)
        self._flags = flags_of(border)
        self._held: torch.Tensor | None = None
        if self.nbytes <= IN_MEMORY:
            # A tensor reaches loader processes as shared memory, not as a copy.
            self._held = torch.empty((len(keys), 4 * self.size**2), dtype=torch.uint8)
            held = self._held.numpy()
            for position, key in enumerate(self._keys):
                held[position] = self._read(key)

    @property
    def nbytes(self) -> int:
        """Return how much memory all of them take."""
        return len(self._keys) * 4 * self.size**2

    def __len__(self) -> int:
        """Return N."""
        return len(self._keys)

    def __getitem__(self, position: int) -> tuple[Bytes, Bytes]:
        """Return an image, uint8 (S, S, 3) RGB, and its flags, uint8 (S, S).

        Raises:
            DataError: the store was changed from outside.
        """
        if self._held is None:
            pixels = self._read(self._keys[position])
        else:
            pixels = self._held[position].numpy()
        colours, size = 3 * self.size**2, self.size
        return pixels[:colours].reshape(size, size, 3), pixels[colours:].reshape(size, size)

    def _read(self, key: bytes) -> Bytes:
        """Read an example, its trimap turned into flags: uint8 (4 * S * S,)."""
        pixels = self._store.read(key).copy()
        flags = pixels[3 * self.size**2 :]
        np.take(self._flags, flags, out=flags, mode="clip")  # clipping is the mode without a buffer
        return pixels

    def gather(self, positions: Sequence[int]) -> tuple[Bytes, Bytes]:
        """Return uint8 (K, S, S, 3) and uint8 (K, S, S) of some of them."""
        images, flags = zip(*(self[position] for position in positions), strict=True)
        return np.stack(images), np.stack(flags)


class FileBlobs:
    """The contents of files, N pairs: in memory while they are small, else in a nameless file."""

    def __init__(self) -> None:
        """Begin with none."""
        spooled = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - see below
        self._file = cast(BinaryIO, spooled)
        weakref.finalize(self, spooled.close)
        self._places: dict[Example, tuple[int, int, int]] = {}
        self._lock = threading.Lock()

    def add(self, example: Example, pair: tuple[bytes, bytes]) -> None:
        """Keep image and trimap of an example."""
        with self._lock:
            start = self._file.seek(0, 2)
            self._file.writelines(pair)
            self._places[example] = (start, len(pair[0]), len(pair[1]))

    def __getitem__(self, example: Example) -> tuple[bytes, bytes]:
        """Return the contents of image and trimap."""
        start, image, trimap = self._places[example]
        with self._lock:
            self._file.seek(start)
            return self._file.read(image), self._file.read(trimap)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitDataset:
    """One split.

    Attributes:
        name: `train`, `val`, ...
        examples: N of them, in the order of the pixels.
        pixels: of each.
        files: of `val` alone the contents of image and trimap: the finished model is judged on
            these very bytes, whatever has become of the files by then.
        digests: SHA-256 of each image file, hexadecimal.
        digest: SHA-256 over ids and files, hexadecimal.
        pet_share: share of pet among the pixels that count, in [0, 1].
        problems: one line for each example left out.
    """

    name: str
    examples: tuple[Example, ...]
    pixels: PixelArray
    files: FileBlobs
    digests: tuple[str, ...]
    digest: str
    pet_share: float
    problems: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.examples)
