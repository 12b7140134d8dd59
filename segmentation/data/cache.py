"""The decoded cache: one .npz file for each decoded example, shared by all runs and processes.

A file's name is a hash of what it was decoded from, so it cannot go stale: changed files have
another name. Files are replaced whole, so no process waits for another: two that decode the same
example write the same file. Nothing depends on the cache; what cannot be read is decoded again.
"""

import hashlib
import logging
from pathlib import Path

import numpy as np
import PIL
import torch

from segmentation.data.example import Example
from segmentation.data.images.examples import Bytes, DecodedExample, decode
from segmentation.models.unet import resize_image
from segmentation.utils.files import atomic_write
from segmentation.utils.paths import cache_folder

_LAYOUT = 3  # raised when what is stored changes
_log = logging.getLogger(__name__)


def decoded_folder() -> Path:
    """Return the folder of all that is cached; it may be removed at any time."""
    return cache_folder() / "decoded"


class DecodedCache:
    """The examples that were decoded to one size, height and width in pixels."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._folder = decoded_folder() / str(size)
        self._logged: set[str] = set()

    def load(self, example: Example, files: tuple[bytes, bytes]) -> tuple[str, DecodedExample]:
        """Return an example's key and pixels, from the contents of image and mask.

        Raises:
            ExampleError: it cannot be used.
        """
        key = self._key(example, files)
        found = self.read(key)
        if found is None:
            found = resize(decode(example, *files), self.size)
            self._write(key, found)
        return key, found

    def read(self, key: str) -> DecodedExample | None:
        """Return cached pixels, or None if there are none or they are damaged."""
        path = self._folder / f"{key}.npz"
        try:
            # Reading an array to its end compares its checksum. Its name is the key, so the
            # file of one example is not taken for that of another.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                pixels = arrays[key]
            if pixels.shape != (self.size, self.size, 4) or pixels.dtype != np.uint8:
                raise ValueError(f"holds {pixels.dtype} {pixels.shape}")
        except FileNotFoundError:
            return None
        except Exception as error:  # bytes that NumPy did not write make it raise almost anything
            self._log_once(
                "%s: cannot be used (%s); it is decoded again from its files", path, error
            )
            return None
        return DecodedExample(image=pixels[..., :3], trimap=pixels[..., 3])

    def _write(self, key: str, example: DecodedExample) -> None:
        path = self._folder / f"{key}.npz"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as stream:
                np.savez(stream, **{key: np.dstack((example.image, example.trimap))})  # type: ignore[arg-type]
        except OSError as error:
            self._log_once(
                "%s: decoded images cannot be kept there (%s), so each run decodes them again; "
                "free some space or make it writable, or set PETSEG_CACHE to another folder",
                self._folder,
                error,
            )

    def _key(self, example: Example, files: tuple[bytes, bytes]) -> str:
        # How files become pixels depends on these libraries too.
        made_by = f"{_LAYOUT} {PIL.__version__} {torch.__version__} {self.size}{example.labels.key}"
        parts = (made_by.encode(), *files)
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def _log_once(self, message: str, *arguments: object) -> None:
        """Warn of the first file alone: of a full disk or a damaged folder all would be named."""
        if message not in self._logged:
            self._logged.add(message)
            _log.warning(message, *arguments)


def resize(example: DecodedExample, size: int) -> DecodedExample:
    """Resize image and trimap to (size, size), as the segmenter resizes photos."""
    image = resize_image(torch.from_numpy(example.image).permute(2, 0, 1)[None], size)
    rounded = image[0].round().clamp(0, 255).byte().permute(1, 2, 0)
    return DecodedExample(image=rounded.numpy(), trimap=nearest(example.trimap, size))


def nearest(trimap: Bytes, size: int) -> Bytes:
    """Resize uint8 (H, W) to (size, size), taking the pixel under each new one's center."""
    rows = ((np.arange(size) + 0.5) * trimap.shape[0] / size).astype(np.intp)
    columns = ((np.arange(size) + 0.5) * trimap.shape[1] / size).astype(np.intp)
    resized: Bytes = trimap[rows[:, None], columns]
    return resized
