"""The parameters of each entry point: its own, and the settings of a training that it has."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from segmentation.config import fields, training
from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.fields import (
    MOST,
    Setting,
    Text,
    all_of,
    from_options,
    setting,
    settings,
)
from segmentation.config.search import DEFAULT_SPACE, SearchConfig
from segmentation.config.shrink import ShrinkConfig
from segmentation.config.training import GROUPS, Config
from segmentation.errors import ConfigError

_Settings = TypeVar("_Settings")
_LONGEST_NAME = 256  # characters of a registered model's, in MLflow's databases
_ALLOW_PICKLE = (
    "Take a model that must be unpickled or brings code of its own: either runs whatever code it "
    "holds."
)


@settings
class ModelName:
    """What the registered model is called; MLflow would refuse some names, at the very end."""

    model_name: Text = setting(
        "",
        "Registered model to add versions to; empty: pet-unet, pet-unet-synthetic on drawn data, "
        "or FOLDER-unet on the own images of a FOLDER.",
    )

    def __post_init__(self) -> None:
        name = self.model_name
        if any(mark in name for mark in "/:") or name in (".", "..") or len(name) > _LONGEST_NAME:
            raise ConfigError(
                f"model_name={name}: expected a name without '/' and ':', other than '.' and of at "
                f"most {_LONGEST_NAME} characters"
            )


@settings
class TrainOptions(ModelName):
    """What `train` takes besides the settings of its training."""

    budget: Text = setting(
        "",
        "Time for training, such as 90s, 5m or 1.5h: as many epochs as fit into it, whatever "
        "'epochs' says; 0: as many as 'epochs' says.",
    )
    like: Text = setting(
        "",
        "Id of the run of an earlier training to repeat: parameters that you do not give are its; "
        "empty: none.",
    )
    resume: Text = setting(
        "",
        "Id of the run of a training that was stopped or killed, to go on with it in that run: all "
        "parameters are its own; empty: none.",
    )
    processes: int = setting(
        1,
        "Processes of this machine that train together, each with its share of every batch and, "
        "where there are GPUs, one of its own.",
        ge=1,
        le=MOST,
    )

    def __post_init__(self) -> None:
        all_of(super().__post_init__, lambda: self.seconds)

    @property
    def seconds(self) -> float:
        """The budget in seconds; 0: none."""
        if (seconds := fields.seconds_of(self.budget or "0")) is None:
            raise ConfigError(f"budget={self.budget}: expected such as 90s, 5m or 1.5h")
        return seconds


@settings
class EvaluateOptions:
    """What `evaluate` judges, and on what."""

    model: Text = setting(
        "",
        "The model's address, such as models:/pet-unet@champion, models:/pet-unet/3 or a folder; "
        "empty: @champion of the name that models of this data have by default.",
    )
    split: Literal["test", "gate", "val", "train"] = setting(
        "test",
        "Which images: the official test list, the fixed gate fifth of trainval, or those that "
        "validated or trained this very model.",
    )
    allow_pickle: bool = setting(False, _ALLOW_PICKLE)


@settings
class PromoteOptions:
    """What `promote` judges."""

    model: Text = setting(
        "",
        "The challenger, such as models:/pet-unet@challenger or models:/pet-unet/3; empty: "
        "@challenger of the name that models of this data have by default.",
    )
    force: bool = setting(
        False,
        "Promote it even if it is not shown to be better; never one that is not above the trivial "
        "baselines.",
    )


@settings
class PredictOptions:
    """What `predict` reads, and what it writes for each photo."""

    images: Text = setting(
        ..., "A photo, or a folder: all JPEG, PNG, GIF and WebP files in it and its folders."
    )
    output: Path = setting(
        ..., "Folder for masks/, predictions.csv and what else is asked for; made if it is new."
    )
    model: Text = setting(
        "",
        "The model's address, such as models:/pet-unet@champion or a folder; empty: "
        "models:/pet-unet@champion, else pet-unet-synthetic's, else the only champion there is.",
    )
    threshold: float | None = setting(
        None,
        "A pixel is foreground where its probability is above this; empty: the model's own.",
        gt=0,
        lt=1,
    )
    overlays: bool = setting(False, "Also the photo, the mask in green.")
    probabilities: bool = setting(False, "Also the probability of foreground as gray, 0 to 255.")
    overwrite: bool = setting(False, "Replace files that are there.")
    allow_pickle: bool = setting(False, _ALLOW_PICKLE)


@settings
class PrepareOptions:
    """What `prepare` verifies, and where it writes what it chooses."""

    data: Text = setting(
        "download",
        "'download' (Oxford-IIIT Pet, into the user's cache folder), 'synthetic' (the drawn "
        "sample), or a folder in that layout or with images/ and masks/, to verify what is there.",
    )
    output: Text = setting(
        "",
        "New folder for the chosen train, val and gate images and their binary masks; empty: write "
        "none.",
    )


@settings
class RecoverOptions:
    """Where `recover` looks, and whether it acts."""

    end: bool = setting(
        True,
        "End runs and trials whose process is gone, and deliver what waits; false: only say so.",
    )
    storage: Text = setting("file", "Of studies: 'file', or an address postgresql://...")
    study: Text = setting("", "With a storage that machines share: the name of the study.")

    def __post_init__(self) -> None:
        if self.storage != "file" and not self.study:
            raise ConfigError(
                f"storage={self.storage}: give `study`, too: the name of the study there"
            )
        SearchConfig(storage=self.storage, study=self.study or "auto")


#: Each entry point's groups of settings, and those that it has of a training's, by name.
_OF: dict[str, tuple[Any, ...]] = {
    "train": (*GROUPS.values(), TrainOptions),
    "tune": (*GROUPS.values(), SearchConfig, ModelName),
    "evaluate": (EvaluateOptions, *training.OF_EVALUATE),
    "promote": (PromoteOptions, *training.OF_PROMOTE),
    "predict": (PredictOptions, "device"),
    "prepare": (PrepareOptions, *training.OF_PREPARE),
    "recover": (RecoverOptions,),
    "shrink": (ShrinkConfig,),
    "benchmark": (BenchmarkConfig, *training.OF_BENCHMARK),
}


def parameters(entry: str) -> dict[str, Setting]:
    """Return the parameters of an entry point by name, in the order of its help."""
    known = {one.option: one for one in training.declared()}
    parts = [[known[one]] if isinstance(one, str) else fields.declared(one) for one in _OF[entry]]
    found = {one.option: one for part in parts for one in part}
    for name, default in DEFAULT_SPACE.items() if entry == "tune" else ():
        one = found[name]
        found[name] = dataclasses.replace(one, schema={**one.schema, "default": default}, unet=None)
    return found


def with_config(group: type[_Settings], given: Mapping[str, Any]) -> tuple[_Settings, Config]:
    """Return an entry point's own settings, and those of a training, of what a user gave.

    Raises:
        ConfigError: names every impossible value at once.
    """
    own, config = all_of(lambda: from_options(group, given), lambda: Config.from_options(given))
    return own, config


def requested(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return all parameters of `train`, and what a user gave of them as the settings' types.

    Raises:
        ConfigError: names every impossible value at once.
    """
    asked = {name: one for name, one in given.items() if name != "processes"}
    options = {**dict.fromkeys(parameters("train"), ""), **asked}
    alone = not options["like"] and not options["resume"]
    options |= training.encoder_of(asked) if alone else {}
    check = functools.partial(Config.from_options if alone else training.typed, options)
    own, _ = all_of(lambda: from_options(TrainOptions, given), check)
    options["budget"] = own.seconds
    return options, training.typed(asked)
