"""A person's own pipeline of Albumentations, from the file that `albumentations.save` wrote."""

import hashlib
import io
import json
import re
import warnings
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import yaml
from albumentations.core.serialization import SERIALIZABLE_REGISTRY, shorten_class_name

from segmentation.data.images.examples import COUNTS_BIT, PET_BIT, Bytes
from segmentation.errors import ConfigError
from segmentation.utils.files import atomic_write, read_regular_file
from segmentation.utils.paths import cache_folder

_EXPECTED = (
    "expected transforms of Albumentations' own, for photos and masks, as `albumentations.save` "
    "writes them"
)
#: Names of transforms that were passed to `save` in this process: no file can bring them.
_passed: set[str] = set()
_TRIES = 20  # what is drawn rarely is met later, where it is told in the same way

# What pipelines take a mask's pixels for: background, foreground, and what counts nowhere.
_LABELS = np.full(256, 255, np.uint8)
_LABELS[[COUNTS_BIT, COUNTS_BIT | PET_BIT]] = 0, 1
_STRANGE = 1 << 7
_FLAGS = np.full(256, _STRANGE, np.uint8)
_FLAGS[[0, 1, 255]] = COUNTS_BIT, COUNTS_BIT | PET_BIT, 0


class Pipeline:
    """Draws variants of images and masks; the same one for the same number."""

    def __init__(self, file: str, size: int) -> None:
        """Read a file, running no code in it, and try it at `size` pixels a side.

        Raises:
            ConfigError: it holds something else than such a pipeline.
        """
        self._file = file
        try:
            self.content = read_regular_file(Path(file))
            saved, self.own_classes = _parse(self.content.decode())
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # a parameter that it does not know
                self._compose = albumentations.Compose([albumentations.from_dict(saved)])
        except Exception as error:  # its checks raise many kinds
            raise self._error(error) from error
        self.digest = _digest(self.content)
        random = np.random.default_rng(0)
        image = random.integers(0, 256, (size, size, 3), np.uint8)
        flags = random.choice(_FLAGS[[0, 1, 255]], (size, size))
        for number in range(_TRIES):
            self(image, flags, number)

    def __call__(self, image: Bytes, flags: Bytes, number: int) -> tuple[Bytes, Bytes]:
        """Return a variant of uint8 (S, S, 3), RGB, and of its flags, (S, S).

        `number` seeds what is drawn, which loader processes would repeat otherwise.

        Raises:
            ConfigError: the pipeline does not give what came in.
        """
        try:
            self._compose.set_random_seed(number)
            varied = self._compose(image=image, mask=_LABELS[flags])
            kinds = [(one.shape, str(one.dtype)) for one in (varied["image"], varied["mask"])]
            if kinds != [(image.shape, "uint8"), (flags.shape, "uint8")]:
                raise ValueError(f"of {image.shape[0]} x {image.shape[1]} pixels it makes {kinds}")
            moved = _FLAGS[varied["mask"]]
            if (moved == _STRANGE).any():
                raise ValueError("masks get other values than 0, 1 and 255: take the nearest pixel")
        except Exception as error:  # a pipeline from anywhere may raise anything
            raise self._error(error) from error
        return varied["image"], moved

    def _error(self, error: Exception) -> ConfigError:
        return ConfigError(f"augment={self._file}: {_reason(error)}; {_EXPECTED}")


def save(transform: Any, *, own_classes: bool) -> str:
    """Keep a pipeline as `keep` does, and return its path.

    Where `own_classes` says so, this process takes the classes of a person's own, until the next
    pipeline is kept.

    Raises:
        ConfigError: it cannot be saved, so that no run with it could be repeated.
    """
    text = io.StringIO()
    try:
        albumentations.save(transform, text)
    except Exception as error:
        raise ConfigError(f"augmentation: {_reason(error)}; {_EXPECTED}") from error
    _passed.clear()
    _passed.update(_names(text.getvalue()) if own_classes else ())
    return keep(text.getvalue().encode())


def keep(content: bytes) -> str:
    """Keep a pipeline's file in the cache, named by its content; return its path."""
    path = cache_folder() / "augmentations" / f"{_digest(content)[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as stream:
        stream.write(content)
    return str(path)


def digest_of(file: str) -> str:
    """Return the digest that a pipeline of a file has; empty where there is no such file."""
    try:
        return _digest(read_regular_file(Path(file)))
    except OSError:
        return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _parse(text: str) -> tuple[dict[str, Any], set[str]]:
    """Read JSON, which YAML would misread (1e-05), or YAML, of the library's own names alone.

    Also returns those that `save` was passed in this process.
    """
    try:
        saved = json.loads(text)
    except ValueError:
        saved = yaml.safe_load(text)
    if not isinstance(saved, dict) or "transform" not in saved:
        raise ValueError("is no saved pipeline")
    names = _names(json.dumps(saved))
    known = SERIALIZABLE_REGISTRY.items()
    own = {name for name, kind in known if kind.__module__.startswith("albumentations.")}
    others = names - own
    if unknown := sorted(others - _passed):
        raise ValueError(f"has {', '.join(unknown)}")
    return saved, others


def _names(text: str) -> set[str]:
    """Return the names of all transforms in a pipeline's JSON."""
    return {*map(shorten_class_name, re.findall(r'"__class_fullname__": "(.*?)"', text))}


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".removeprefix("ValueError: ").split())[:200]
