"""What decides what a training run computes: frozen settings, each with meaning, unit and range."""

import dataclasses
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from segmentation.config import fields
from segmentation.config.fields import (
    MOST,
    Count,
    ExistingFile,
    File,
    Seed,
    Setting,
    Text,
    setting,
    settings,
)
from segmentation.errors import ConfigError

#: The encoder of our own, whose weights are random.
OWN_ENCODER = "unet"
#: What `encoder=unet` alone has.
OF_OWN = ("depth", "patch")
_LEAST = 32  # pixels of an image's side, of which encoders make one


@settings
class DataConfig:
    """Which pets, which of them, and what counts as one."""

    source: Text = setting(
        "auto",
        "The data: 'auto' (what `prepare` laid down, else the drawn sample), 'synthetic' (the "
        "drawn sample), or a folder: with images/ and masks/, or in the layout of Oxford-IIIT Pet.",
        option="data",
    )
    train_images: Count = setting(100, "Images to train on, or 'all'.")
    val_images: Count = setting(
        20, "Images to validate on, or 'all': a fifth of those not in the gate."
    )
    split_seed: Seed = setting(0, "Seed of the choice of those images.")
    border: Literal["pet", "background", "ignore"] = setting(
        "pet",
        "What the trimap's border (value 3) counts as; 'ignore' takes it out of loss and metrics.",
    )
    foreground: Text = setting(
        "auto",
        "Own masks: the values that are foreground, such as 1 or 1,2, all others being background; "
        "'auto': 1 of masks that have no other than 0 and 1, 255 of those that have 0 and 255.",
    )
    ignore: Text = setting(
        "none", "Own masks: values that count neither in the loss nor in metrics, such as 255."
    )
    mask_threshold: int = setting(
        0,
        "Own masks: a value of at least this is foreground, as of JPEGs or soft edges; 0: values "
        "are taken as they are.",
        ge=0,
        le=255,
    )
    empty: Literal["forbid", "allow"] = setting(
        "forbid", "Own masks: whether some may have no foreground."
    )
    groups: File = setting(
        "none",
        "Own images: a CSV file with the columns path (below images/), group (all of one are in "
        "the same split) and, if there are classes, class (all are in each split in proportion).",
    )
    bad_examples: Literal["stop", "skip"] = setting(
        "stop", "What to do about files that cannot be used."
    )
    # From random weights the edges, which are needed first, show in small images.
    image_size: int = setting(
        224, "Height and width, in pixels, at which the network works.", unet=128, ge=16, le=2048
    )

    def __post_init__(self) -> None:
        foreground = values_of("foreground", self.foreground)
        both = set(foreground) & set(values_of("ignore", self.ignore))
        if both or (self.mask_threshold and foreground):
            other = f"ignore={self.ignore}" if both else f"mask_threshold={self.mask_threshold}"
            raise ConfigError(
                f"foreground={self.foreground}, {other}: each says what the same values mean; "
                "leave one out"
            )


def values_of(name: str, text: str) -> tuple[int, ...]:
    """Return the values that `foreground` or `ignore` names; none for `auto` and `none`."""
    words = [] if text in ("auto", "none") else text.split(",")
    if not all(re.fullmatch(r" *\d{1,3} *", word, re.A) and int(word) <= 255 for word in words):
        raise ConfigError(f"{name}={text}: expected values from 0 to 255, separated by commas")
    return tuple(map(int, words))


@settings
class ModelConfig:
    """The network: an encoder, and the decoder behind it."""

    encoder: Text = setting(
        "efficientnet_lite2",
        "What makes features of an image: efficientnet_lite0, efficientnet_lite1 or "
        "efficientnet_lite2, whose ImageNet weights are packages; any network of timm's that gives "
        "features, such as resnet34; or 'unet', our own from random weights.",
        search="choice",
    )
    weights: File = setting(
        "auto",
        "What the encoder begins with: 'auto' (the weights of its package, else those that timm "
        "fetches from its hub, once), a file (.safetensors, or .pth of tensors), or 'none' (random "
        "ones, as encoder=unet always does).",
    )
    width: int = setting(
        16,
        "Channels of the finest level, of the decoder or of encoder=unet; each further level has "
        "twice as many.",
        ge=1,
        le=1024,
        search="linear",
    )
    depth: int = setting(
        4,
        "Levels of encoder=unet, the bottom one included; given alone it chooses that encoder.",
        ge=2,
        le=8,
        search="linear",
    )
    patch: int = setting(
        2,
        "Side, in pixels, of the squares that encoder=unet takes as one and gives back as one; 1: "
        "each pixel for itself, which takes about three times as long. Given alone it chooses that "
        "encoder.",
        ge=1,
        le=8,
        search="linear",
    )


@settings
class TrainingConfig:
    """How the network is fitted."""

    epochs: int = setting(60, "Passes over the training images.", unet=200, ge=1, le=MOST)
    batch_size: int = setting(8, "Images a step.", ge=1, le=MOST, search="linear")
    lr: float = setting(
        3e-3, "Peak learning rate of the one-cycle schedule.", unet=4e-3, gt=0, lt=10, search="log"
    )
    encoder_lr: float = setting(
        0.0,
        "Learning rate of an encoder with weights, as a share of lr; 0: it stays as it is.",
        ge=0,
        le=1,
        search="linear",
    )
    weight_decay: float = setting(
        1e-2, "AdamW's decoupled weight decay.", ge=0, lt=10, search="log"
    )
    loss: Literal["bce", "bce+dice"] = setting(
        "bce",
        "BCEWithLogitsLoss, alone or plus one minus the soft Dice.",
        search="choice",
    )
    augment: Literal["none", "light", "strong"] | ExistingFile = setting(
        "strong",
        "Strength of the augmentation; or a file that `albumentations.save` wrote, with a pipeline "
        "of your own.",
        search="choice",
        union_mode="left_to_right",
    )
    resizing: Literal["progressive", "fixed"] = setting(
        "progressive",
        "The images' size during training: 'progressive' begins at half of image_size, goes on at "
        "three quarters after 40 % of the epochs and ends with 30 % at full size; 'fixed' has it "
        "from the start.",
        search="choice",
    )
    ema: float = setting(
        0.98,
        "Decay per step of the moving average of the weights that is validated and kept; 0: off.",
        ge=0,
        lt=1,
        search="linear",
    )
    patience: int = setting(
        0, "Stop after this many epochs without a better validation Dice; 0: never.", ge=0, le=MOST
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = setting(
        "auto",
        "Arithmetic of forward and backward; 'auto' is bf16 where the hardware has it, on other "
        "GPUs fp16 with loss scaling, else fp32.",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = setting("auto", "Where to compute.")
    loader_workers: int = setting(
        0,
        "Processes that augment ahead of the network; 0: in the training process.",
        ge=0,
        le=64,
    )
    seed: Seed = setting(0, "Seed of weights, batch order and augmentation.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides what a training run computes; valid once it exists."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self) -> None:
        if self.model.encoder == OWN_ENCODER:
            self._check_own()
        else:
            self._check_another()

    def _check_own(self) -> None:
        if self.model.weights not in ("auto", "none"):
            raise ConfigError(
                f"weights={self.model.weights}: encoder=unet begins with random ones; give the "
                "encoder that they are of"
            )
        lowest = self.data.image_size // self.model.patch >> (self.model.depth - 1)
        if lowest < 2:  # one pixel leaves batch normalization without a variance
            raise ConfigError(
                f"depth={self.model.depth}: at image_size={self.data.image_size} the lowest level "
                "has less than 2 x 2 pixels; lower depth or patch, or raise image_size"
            )

    def _check_another(self) -> None:
        model, size = self.model, self.data.image_size
        for one in OF_OWN:
            if (value := getattr(model, one)) != getattr(ModelConfig(), one):
                raise ConfigError(
                    f"{one}={value}: is of encoder=unet, and this is encoder={model.encoder}; "
                    "leave it out, or choose the other"
                )
        # One pixel leaves the batch normalization of an encoder that learns without a variance.
        least = 2 * _LEAST if model.weights == "none" else _LEAST
        if size < least:
            raise ConfigError(
                f"image_size={size}: expected at least {least} with encoder={model.encoder}"
            )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Config":
        """Build from values by the parameters' names; others are ignored, empty ones default.

        Raises:
            ConfigError: names every impossible value at once.
        """
        given = {name: value for name, value in options.items() if value not in ("", None)}
        return cls(**_parts(defaults(given.get("encoder", "")) | given))

    def options(self) -> dict[str, Any]:
        """Return the settings by the parameters' names."""
        return _options(vars(self))

    def used(self, names: Collection[str] = (), **others: Any) -> dict[str, Any]:
        """Return the settings of these names, or all, as a run logs them, with `others` as given.

        Those of other encoders and own masks would stand above the pictures on a run's page.
        """
        silent = set(OWN_DATA) - own_data(self.data).keys()
        silent |= set(OF_OWN if self.model.encoder != OWN_ENCODER else ())
        logged = set(names or self.options()) - silent
        return {name: one for name, one in self.options().items() if name in logged} | others


#: Parameters that say where and how a training is computed, not what: they may be others when it,
#: or a search, goes on. That the images are the same is told by their contents.
FREE = ("data", "groups", "bad_examples", "device", "loader_workers")
#: What own images and masks have besides; other data does not, nor had earlier versions.
OWN_DATA = ("foreground", "ignore", "mask_threshold", "empty", "groups")

#: What other entry points have of them.
OF_EVALUATE = ("data", "border", *OWN_DATA, "bad_examples", "device")
OF_PROMOTE = ("data", "border", *OWN_DATA, "device")
OF_BENCHMARK = (
    *("data", "train_images", "val_images", "image_size", "encoder", "bad_examples", "device"),
)
OF_PREPARE = ("train_images", "val_images", "split_seed", "border", *OWN_DATA)

GROUPS: dict[str, Any] = {"data": DataConfig, "model": ModelConfig, "training": TrainingConfig}


def _parts(options: Mapping[str, Any]) -> dict[str, Any]:
    makes = [functools.partial(fields.from_options, group, options) for group in GROUPS.values()]
    return dict(zip(GROUPS, fields.all_of(*makes), strict=True))


def _options(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        one.option: getattr(parts[part], one.name)
        for part, group in GROUPS.items()
        for one in fields.declared(group)
    }


def own_data(data: DataConfig) -> dict[str, Any]:
    """Return those of `OWN_DATA` that are not as they are by default."""
    usual = DataConfig()
    return {n: getattr(data, n) for n in OWN_DATA if getattr(data, n) != getattr(usual, n)}


def encoder_of(given: Collection[str]) -> dict[str, str]:
    """Return the encoder that parameters choose by themselves, if any: those of `unet` alone."""
    own = "encoder" not in given and any(name in given for name in OF_OWN)
    return {"encoder": OWN_ENCODER} if own else {}


def defaults(encoder: Any = "") -> dict[str, Any]:
    """Return every setting's default by its parameter's name.

    Args:
        encoder: on which some depend; empty: the usual one.
    """
    of_unet = {one.option: one.unet for one in declared() if one.unet is not None}
    usual = {one.option: one.default for one in declared()}
    return usual | (of_unet if encoder == OWN_ENCODER else {})


def typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the settings among them as their types, each checked by itself.

    Whether they go together is known only with those that are not given.

    Raises:
        ConfigError: names every impossible value at once.
    """
    values = _options(_parts(options))
    return {name: values.get(name, value) for name, value in options.items()}


def declared() -> Iterator[Setting]:
    """Yield every setting, in the order of their declaration."""
    return fields.declared(*GROUPS.values())


def searchable() -> Iterator[Setting]:
    """Yield the settings that a search may vary."""
    return (one for one in declared() if one.search)
