"""The Python API, for notebooks and scripts: each function does what the command of its name does.

Settings have the names and defaults of that command; `config` is a file of them. All errors that a
user can cause are `PetsegError`. Nothing heavy is imported before a function is called.
"""

import contextlib
import dataclasses
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmentation.config import file
from segmentation.config.commands import (
    EvaluateOptions,
    PredictOptions,
    PrepareOptions,
    parameters,
    requested,
    with_config,
)
from segmentation.config.training import Config
from segmentation.errors import ConfigError, DataError, PetsegError, explain
from segmentation.training.callbacks import Callback, ProgressCallback
from segmentation.utils.concurrency import ProgressBar
from segmentation.utils.environment import in_notebook
from segmentation.utils.memory import give_memory_back

if TYPE_CHECKING:
    import numpy as np
    from albumentations import Compose
    from numpy.typing import NDArray
    from PIL.Image import Image

    from segmentation.tracking.registry.loading import LoadedModel

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a training, a search or an evaluation came to.

    Attributes:
        dice: the mean Dice over images, in [0, 1]; of a search that of its winner.
        interval: its 95 % bootstrap interval.
        baselines: the mean Dice of answering `foreground` or `background` everywhere; of an
            evaluation the former alone.
        run_id: MLflow's.
        model_uri: the model's address.
        metrics: all figures of the run, by the names under which they are tracked.
    """

    dice: float
    interval: tuple[float, float]
    baselines: Mapping[str, float]
    run_id: str
    model_uri: str
    metrics: Mapping[str, float] = dataclasses.field(repr=False)
    _picture: str = dataclasses.field(repr=False)

    def show(self, picture: str = "") -> "Image":
        """Return a picture among the run's artifacts, such as `val/worst.jpg`."""
        from segmentation.tracking.artifacts import load_picture

        return load_picture(self.run_id, picture or self._picture)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says of a photo: its path or pixels, and the mask as a PNG of 0 and 255."""

    photo: "Path | NDArray[np.uint8]" = dataclasses.field(repr=False)
    png: bytes = dataclasses.field(repr=False)

    @property
    def mask(self) -> "NDArray[np.bool_]":
        """Where the foreground is, (H, W), at the photo's size as it is displayed."""
        import numpy as np
        from PIL import Image

        return np.asarray(Image.open(io.BytesIO(self.png))) > 0

    def show(self) -> "Image":
        """Return the photo with the foreground in green."""
        from PIL import Image

        from segmentation.evaluation.pictures import overlay
        from segmentation.tracking.registry.photo_model import read_photo

        photo = self.photo
        pixels = read_photo(photo.read_bytes()) if isinstance(photo, Path) else photo
        return Image.fromarray(overlay(pixels, self.mask))


@contextlib.contextmanager
def _as_imported() -> Iterator[None]:
    """Have PyTorch as it is imported: what a notebook has set would change what comes out."""
    with contextlib.ExitStack() as after:
        if torch := sys.modules.get("torch"):
            after.enter_context(torch.inference_mode(False))  # which lets gradients flow, too
            after.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float32)
            if torch.get_default_device().type != "cpu":
                after.enter_context(torch.device("cpu"))
        yield


@contextlib.contextmanager
def _call() -> Iterator[None]:
    """Print what the project logs, unless its logger has a level, and raise its errors alone."""
    log = logging.getLogger("segmentation")
    before = log.level, log.propagate, log.handlers
    if in_notebook():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that without ipywidgets a bar is a line of text
            import tqdm.auto  # noqa: F401  # before another library does
    if not log.level:
        log.setLevel(logging.INFO)
        log.propagate, log.handlers = False, [logging.StreamHandler(sys.stdout)]
    try:
        with _as_imported():
            yield
    except PetsegError:
        raise
    except Exception as error:
        if (message := explain(error)) is None:
            raise
        raise PetsegError(message) from error
    finally:
        ProgressBar.close_open()
        give_memory_back()
        log.setLevel(before[0])
        log.propagate, log.handlers = before[1:]


@_call()
def train(
    *, callbacks: Sequence[Callback] = (), augmentation: "Compose | None" = None, **settings: Any
) -> Result:
    """Train, register the model, and let it compete with the champion.

    Args:
        callbacks: called by the training loop.
        augmentation: takes the place of `augment`; may have transforms of classes of your own.
        settings: such as `data`, `epochs`, `lr` and `resume`.

    Raises:
        KeyboardInterrupt: once the step under way is done; `resume` goes on.
    """
    options, asked = requested(_given("train", settings, augmentation))
    from segmentation.workflows import train as workflow

    every = [ProgressCallback(ProgressBar("Epoch")), *callbacks]
    if trained := workflow.train(options, asked, every, ProgressBar("Reading images")):
        return _result(*trained, "best", "val/progress.jpg")
    raise ConfigError(f"resume={options['resume']}: that training came to its end")


@_call()
def tune(*, augmentation: "Compose | None" = None, **settings: Any) -> Result:
    """Search for better settings, confirm the finalists and register the winner.

    Args:
        augmentation: of Albumentations' own transforms; takes the place of `augment`.
        settings: a value, a range such as `lr="3e-4..3e-2"` or choices such as `width=[8, 16]`.
    """
    given = _given("tune", settings, augmentation)
    from segmentation.tuning import space
    from segmentation.workflows.tune.search import search

    asked, name = space.requested(given), given.get("model_name", "")
    run_id, uri, winner = search(*asked, name, given, ProgressBar("Reading images"))
    return dataclasses.replace(_result(winner, uri, "best", "plots/history.png"), run_id=run_id)


@_call()
def evaluate(model: "str | os.PathLike[str] | LoadedModel" = "", **settings: Any) -> Result:
    """Score a model on a split of a data set, and log a report.

    Args:
        model: its address, or the model; empty: the champion.
        settings: such as `data` and `split`: `test`, `gate`, or the `val` or `train` images of the
            model's own training.
    """
    given = _given("evaluate", {"model": model, **settings})
    own, config = with_config(EvaluateOptions, given)
    from segmentation.workflows.evaluate import evaluate_model

    tracked = evaluate_model(own, config, ProgressBar("Judging"), _loaded(model))
    return _result(*tracked, own.split, f"{own.split}/random.jpg")


@_call()
def predict(
    photos: "str | os.PathLike[str] | NDArray[np.uint8]" = "",
    model: "str | os.PathLike[str] | LoadedModel" = "",
    **settings: Any,
) -> "Prediction | list[Prediction]":
    """Tell foreground from background; of a folder a list, in the order of the paths.

    Photos of a folder that cannot be used are told, and left out.

    Args:
        photos: a photo's path; its pixels, uint8 (H, W, 3), RGB; or a folder.
        model: its address, or the model; empty: the champion.
        settings: such as `threshold`, in (0, 1), and `output`, a folder to write the masks to as
            well.
    """
    with tempfile.TemporaryDirectory(prefix="petseg-") as folder:
        pixels, images = None, photos
        if not isinstance(photos, (str, os.PathLike)):
            pixels = _save(photos, images := Path(folder) / "array.png")
        given = _given("predict", {"images": images, "model": model, **settings})
        if "images" not in given:
            raise ConfigError("photos: expected a path, or uint8 (H, W, 3), RGB")
        wanted, config = with_config(PredictOptions, {"output": f"{folder}/masks"} | given)
        from segmentation.workflows.predict import predict as workflow

        progress = ProgressBar("Predicting")
        done, bad = workflow(wanted, config, progress, _loaded(model), kept="output" in given)
        found = [
            Prediction(photo=photo if pixels is None else pixels, png=mask.read_bytes())
            for photo, mask in done
        ]
    if bad and not found:
        raise DataError("no photo could be used:", bad)
    if bad:
        _log.warning("%d of %d photos are left out", len(bad), len(bad) + len(found))
    return found if Path(wanted.images).expanduser().is_dir() else found[0]


@_call()
def load_model(uri: str = "", *, device: str = "auto", allow_pickle: bool = False) -> "LoadedModel":
    """Load a model for `predict` and `evaluate`; `model(photo)` gives each pixel's probability.

    Args:
        uri: such as `models:/pet-unet@champion`; empty: the champion.
        device: where to compute.
        allow_pickle: whether the model may bring code.
    """
    config = Config.from_options({"device": device})
    from segmentation.runtime.device import choose_compute
    from segmentation.tracking.registry.loading import default_model, load
    from segmentation.tracking.store import connect

    connect(writes=False)
    compute = choose_compute(config.training)
    return load(uri or default_model("champion"), compute.device, allow_pickle=allow_pickle)


@_call()
def prepare(data: str | os.PathLike[str] = "", **settings: Any) -> Path:
    """Verify a data set, log a report of it, and return its folder.

    Args:
        data: `download` (Oxford-IIIT Pet, 800 MB; the default), `synthetic` or a folder.
        settings: such as `train_images`, and `output`, a new folder for the chosen images and
            their masks.
    """
    given = _given("prepare", {"data": data, **settings})
    own, config = with_config(PrepareOptions, given)
    from segmentation.workflows.prepare import prepare as workflow

    return workflow(own.data, own.output, config, ProgressBar("Verifying"))


def _given(
    name: str, settings: Mapping[str, Any], augmentation: "Compose | None" = None
) -> dict[str, str]:
    """Return what the caller and the file of settings give, by the parameters' names, as text."""
    known = parameters(name).keys()
    file.require_known(settings, {*known, "config"} - {"processes"}, name)
    given = {option: text for option, value in settings.items() if (text := _plain(value))}
    if path := given.pop("config", ""):
        given = {option: _plain(one) for option, one in file.read(path, known).items()} | given
    if given.pop("processes", "1") != "1":
        raise ConfigError("processes: Python trains in one; leave it out, or use `petseg train`")
    if augmentation is not None:
        if "augment" in settings:
            raise ConfigError("augment, augmentation: each says how to augment; leave one out")
        from segmentation.data.augmentation.pipeline import save

        given["augment"] = save(augmentation, own_classes=name == "train")
    return given


def _loaded(model: "str | os.PathLike[str] | LoadedModel") -> "LoadedModel | None":
    return None if isinstance(model, (str, os.PathLike)) else model


def _plain(value: Any) -> str:
    """Return a value as a command line would have it, as text; empty: nothing is given."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    return "" if value is None else str(value)


def _save(photo: Any, path: Path) -> "NDArray[np.uint8]":
    """Write pixels to a file; return them as an array."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(photo)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ConfigError(
            f"photos: {pixels.dtype} {pixels.shape}; expected a path, or uint8 (H, W, 3), RGB"
        )
    Image.fromarray(pixels).save(path, compress_level=1)
    return pixels


def _result(run_id: str, model_uri: str, prefix: str, picture: str) -> Result:
    """Read what a run has logged: below `best/` of a training, else below a split's name."""
    from segmentation.tracking.store import metrics_of

    metrics = metrics_of(run_id)
    dice, low, high = (metrics[f"{prefix}/dice{part}"] for part in ("", "_low", "_high"))
    floor = "floor/dice_" if prefix == "best" else f"{prefix}/floor_dice"
    baselines = {
        "background" if name.endswith("background") else "foreground": value
        for name, value in metrics.items()
        if name.startswith(floor)
    }
    return Result(
        dice=dice,
        interval=(low, high),
        baselines=baselines,
        run_id=run_id,
        model_uri=model_uri,
        metrics=metrics,
        _picture=picture,
    )
