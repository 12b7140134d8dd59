"""Photos in, masks out: what a registered model does as an MLflow function, and so when served.

This file travels with every registered model ("model from code") and runs where this project is
not, so it imports nothing of it. Input: a column `image` of photos, as bytes or as base64 text;
JPEG, PNG, GIF or WebP by their content, turned upright as their EXIF says. Output: a row a photo,
`mask` at the size of the upright photo and `pet_share`, the share of its pixels that are pet.
"""

import base64
import binascii
import functools
import io
import re
import sys
import threading
import warnings
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

#: The parameter above which a probability is pet; under this name a model keeps its own, too.
THRESHOLD = "threshold"
#: A larger photo is refused before it is decoded: it would take gigabytes.
MAX_PIXELS = 64_000_000

_ONE = threading.Lock()
_ORIENTATION = 0x0112  # EXIF's tag
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP")
#: No photo consists of printable characters alone, and base64 of nothing else.
_TEXT = re.compile(rb"[\t\n\r -~]*")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")

# Our own limit is lower and an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class PhotoError(ValueError):
    """A photo cannot be used; the message says why, as a clause about it."""


def read_photo(content: bytes) -> NDArray[np.uint8]:
    """Decode a photo as it is displayed: EXIF's turn applied, transparency laid over white.

    Args:
        content: of a JPEG, PNG, GIF or WebP file.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        PhotoError: it is none of these, is damaged, animated, of 16 bits a sample, or larger than
            `MAX_PIXELS`.
    """
    if not content:
        raise PhotoError("is empty")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as file:
            _refuse(file)
            image = _upright(file)
            if "A" in image.getbands() or "transparency" in image.info:
                layer = image.convert("RGBA")
                image = Image.new("RGBA", layer.size, "white")
                image.alpha_composite(layer)
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError("is not a JPEG, PNG, GIF or WebP file") from error
    # Pillow's decoders raise almost anything on hostile bytes, and none of it is our defect.
    except Exception as error:
        raise PhotoError(f"cannot be decoded ({error})") from error


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """Encode a mask, bool (H, W), as a PNG of 0 and 255."""
    stream = io.BytesIO()
    # The lowest level: twice as fast as the usual one, and masks are small at any.
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Encode a mask, bool (H, W), as COCO's uncompressed run lengths.

    Returns:
        `size`: height and width; `counts`: how many pixels are 0, then 1, then 0, ..., going down
        the columns from left to right; the first count is 0 where the first pixel is 1.
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(np.concatenate([[0], changes, [pixels.size]]))
    first = [0] if pixels[0] else []
    return {"size": list(mask.shape), "counts": first + counts.tolist()}


def _refuse(image: Image.Image) -> None:
    # By the head alone, before anything is decoded.
    if image.width * image.height > MAX_PIXELS:
        raise PhotoError(
            f"has {image.width} x {image.height} pixels; at most {MAX_PIXELS:,} are read"
        )
    # A camera's multi-picture JPEG counts several; the first is the photo.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise PhotoError("is an animation; expected one picture")
    tiles = getattr(image, "tile", ())
    if image.mode not in _MODES or any(";16" in str(tile) for tile in tiles):
        raise PhotoError(f"has samples of Pillow mode {image.mode}; expected 8 bits a sample")


def _upright(image: Image.Image) -> Image.Image:
    """Turn a photo as its EXIF says; broken EXIF says nothing."""
    try:
        turned = image.getexif().get(_ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image
    except Exception:
        return image


class PhotoModel(PythonModel):
    """The registered network behind the reading of photos."""

    _threshold = 0.5

    def load_context(self, context: PythonModelContext) -> None:
        self._threshold = (context.model_config or {}).get(THRESHOLD, self._threshold)
        self._network = mlflow.pytorch.load_model(context.artifacts["network"])
        if server := sys.modules.get("mlflow.pyfunc.scoring_server"):
            _answer_without_500(server)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return a row a photo: `mask` and `pet_share`.

        Args:
            context: not used.
            model_input: a column `image` of bytes or base64 text; a plain list of them will do.
            params: `format`, `png` (bytes of a PNG with 0 and 255; base64 in JSON) or `rle` (see
                `run_lengths`); `threshold`, the probability above which a pixel is pet
                (the model's own where it is not given).

        Raises:
            MlflowException: a photo or a parameter cannot be used; the server answers with 400.
        """
        form, threshold = _settings(params or {}, self._threshold)
        photos = _contents(model_input)
        rows = []
        for number, photo in enumerate(photos, 1):
            # One at a time, whatever the number of requests: a large photo takes a gigabyte.
            with _ONE:
                try:
                    pixels = read_photo(_bytes(photo))
                except PhotoError as error:
                    raise _refused(f"photo {number} of {len(photos)} {error}") from error
                mask = self._probability(pixels) > threshold
                shown = mask_png(mask) if form == "png" else run_lengths(mask)
            rows.append({"mask": shown, "pet_share": float(mask.mean())})
        return pd.DataFrame(rows)

    def _probability(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
            probability: NDArray[np.float32] = self._network(image)[0, 0].numpy()
        return probability


def _settings(params: dict[str, Any], own: float) -> tuple[str, float]:
    form, threshold = params.get("format") or "png", params.get(THRESHOLD)
    threshold = own if threshold is None else threshold
    if form not in ("png", "rle"):
        raise _refused(f"format={form}: expected 'png' or 'rle'")
    if not 0 < threshold < 1:
        raise _refused(f"threshold={threshold}: expected more than 0 and less than 1")
    return form, float(threshold)


def _contents(given: Any) -> list[Any]:
    """Return the photos of whatever form MLflow makes of a request."""
    if isinstance(given, pd.DataFrame | dict):
        if "image" not in given:
            raise _refused("expected a column `image`")
        given = given["image"]
    photos = _flat(given)
    if not photos:
        raise _refused("expected at least one photo")
    return photos


def _flat(given: Any) -> list[Any]:
    if isinstance(given, np.ndarray) and given.dtype == np.uint8:  # such as of `np.fromfile`
        return [given.tobytes()]
    # Not by NumPy, which takes a bytearray apart.
    if isinstance(given, pd.Series | np.ndarray):
        given = np.asarray(given).ravel().tolist()
    if isinstance(given, list | tuple):
        return [photo for part in given for photo in _flat(part)]
    return [given]


def _bytes(photo: Any) -> bytes:
    """Return a photo's bytes, whether given as such or as base64 text, a data address included."""
    if isinstance(photo, bytearray | memoryview):
        photo = bytes(photo)
    if isinstance(photo, bytes):
        if not _TEXT.fullmatch(photo):
            return photo
        photo = photo.decode()  # MLflow hands on base64 text as bytes, or decodes it, by its form
    if not isinstance(photo, str):
        raise PhotoError(f"is of type {type(photo).__name__}; expected bytes or base64 text")
    text = photo.partition(",")[2] if photo.startswith("data:") else photo
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PhotoError(f"is not base64 ({error})") from error


def _refused(message: str) -> MlflowException:
    return MlflowException(message, error_code=INVALID_PARAMETER_VALUE)


def _answer_without_500(server: Any) -> None:
    """Let MLflow's scoring server answer 4xx to requests on which it would fail.

    In MLflow 3.17 a request without a content type, or with JSON nested a thousand deep, ends in
    an AttributeError or a RecursionError within the server, before a model hears of it: answer
    500. And what a model cannot take is answered with a traceback.
    """
    answer = server.invocations
    if hasattr(answer, "__wrapped__"):
        return

    @functools.wraps(answer)
    def guarded(data: bytes, content_type: str | None, *rest: Any) -> Any:
        try:
            if not content_type:
                raise _refused("say the content type: application/json")
            return answer(data, content_type, *rest)
        except MlflowException as error:
            error.json_kwargs.pop("stack_trace", None)
            # Without the request itself, which MLflow puts before what is wrong with it.
            error.message = error.message.rpartition("\nError: ")[2]
            raise
        except Exception as error:
            raise _refused(f"the request cannot be read ({type(error).__name__})") from error

    server.invocations = guarded


mlflow.models.set_model(PhotoModel())
