"""What a run is made of: frozen settings, each with its meaning, unit and range, validated once.

The command line of every entry point is made from these fields, so a parameter's name, default,
help and range stand here and nowhere else.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from segmentation.errors import ConfigError

#: A number of images, or every one that the split has.
Count = int | Literal["all"]

_SEEDS = 2**32 - 1


def setting(default: Any, text: str, **limits: Any) -> Any:
    """Declare one field.

    Args:
        default: its value when nothing is said.
        text: one sentence for `--help`.
        limits: `low` and `high` (inclusive), `above` and `below` (exclusive), `choices`;
            `option`, the parameter's name where it differs from the field's; `search`, `linear`,
            `log` or `choice`, where a search may vary it.
    """
    return dataclasses.field(default=default, metadata={"text": text, **limits})


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pets, which of them, and what counts as one."""

    source: str = setting(
        "auto",
        "The data: 'auto' (what `prepare` laid down, else the drawn sample), 'synthetic' (the "
        "drawn sample), or a folder in the layout of Oxford-IIIT Pet.",
        option="data",
    )
    train_images: Count = setting(100, "Images to train on, or 'all'.", low=1)
    val_images: Count = setting(
        20, "Images to validate on, or 'all': a fifth of those not in the gate.", low=1
    )
    split_seed: int = setting(0, "Seed of the choice of those images.", low=0, high=_SEEDS)
    border: str = setting(
        "pet",
        "What the trimap's border (value 3) counts as; 'ignore' takes it out of loss and metrics.",
        choices=("pet", "background", "ignore"),
    )
    bad_examples: str = setting(
        "stop", "What to do about files that cannot be used.", choices=("stop", "skip")
    )
    image_size: int = setting(
        128, "Height and width, in pixels, at which the network works.", low=16, high=2048
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The U-Net's shape."""

    width: int = setting(
        16, "Channels of the U-Net's first level.", low=1, high=1024, search="linear"
    )
    depth: int = setting(
        4,
        "Levels of the U-Net, the bottom one included; each doubles the channels.",
        low=2,
        high=8,
        search="linear",
    )
    patch: int = setting(
        2,
        "Side, in pixels, of the squares that the network takes as one and gives back as one; 1: "
        "each pixel for itself, which takes about three times as long.",
        low=1,
        high=8,
        search="linear",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the network is fitted."""

    epochs: int = setting(200, "Passes over the training images.", low=1)
    batch_size: int = setting(8, "Images a step.", low=1, search="linear")
    lr: float = setting(
        4e-3, "Peak learning rate of the one-cycle schedule.", above=0, below=10, search="log"
    )
    weight_decay: float = setting(
        1e-2, "AdamW's decoupled weight decay.", low=0, below=10, search="log"
    )
    loss: str = setting(
        "bce",
        "BCEWithLogitsLoss, alone or plus one minus the soft Dice.",
        choices=("bce", "bce+dice"),
        search="choice",
    )
    augment: str = setting(
        "strong",
        "Strength of the augmentation.",
        choices=("none", "light", "strong"),
        search="choice",
    )
    resizing: str = setting(
        "progressive",
        "The images' size during training: 'progressive' begins at half of image_size, goes on at "
        "three quarters after 40 % of the epochs and ends with 30 % at full size; 'fixed' has it "
        "from the start.",
        choices=("progressive", "fixed"),
        search="choice",
    )
    ema: float = setting(
        0.98,
        "Decay per step of the moving average of the weights that is validated and kept; 0: off.",
        low=0,
        below=1,
        search="linear",
    )
    patience: int = setting(
        0, "Stop after this many epochs without a better validation Dice; 0: never.", low=0
    )
    precision: str = setting(
        "auto",
        "Arithmetic of forward and backward; 'auto' is bf16 where the hardware has it, on other "
        "GPUs fp16 with loss scaling, else fp32.",
        choices=("auto", "bf16", "fp16", "fp32"),
    )
    device: str = setting("auto", "Where to compute.", choices=("auto", "cpu", "cuda", "mps"))
    loader_workers: int = setting(
        0,
        "Processes that augment ahead of the network; 0: in the training process.",
        low=0,
        high=64,
    )
    seed: int = setting(0, "Seed of weights, batch order and augmentation.", low=0, high=_SEEDS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides what a training run computes; valid once it exists."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: names every impossible value at once.
        """
        found = [
            text for part in dataclasses.fields(self) for text in problems(getattr(self, part.name))
        ]
        bottom = self.data.image_size // self.model.patch >> (self.model.depth - 1)
        if not found and bottom < 2:  # one pixel leaves batch normalisation without a variance
            found.append(
                f"depth={self.model.depth}: at image_size={self.data.image_size} the lowest level "
                "has less than 2 x 2 pixels; lower depth or patch, or raise image_size"
            )
        if found:
            raise ConfigError("; ".join(found))

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Config":
        """Build from command-line values, by the parameters' names (`option_name`)."""
        parts = {}
        for part in dataclasses.fields(cls):
            kind: Any = part.type
            parts[part.name] = kind(
                **{
                    field.name: options[option_name(field)]
                    for field in dataclasses.fields(kind)
                    if option_name(field) in options
                }
            )
        return cls(**parts)

    def flat(self) -> dict[str, Any]:
        """Return the settings under dotted names, such as `model.width`."""
        return {f"{part}.{field.name}": value for part, field, value in fields(self)}

    def options(self) -> dict[str, Any]:
        """Return the settings by the parameters' names."""
        return {option_name(field): value for _, field, value in fields(self)}


def declared() -> Iterator["dataclasses.Field[Any]"]:
    """Yield every setting, in the order of their declaration."""
    for part in dataclasses.fields(Config):
        kind: Any = part.type
        yield from dataclasses.fields(kind)


def searchable() -> Iterator["dataclasses.Field[Any]"]:
    """Yield the settings that a search may vary."""
    return (field for field in declared() if "search" in field.metadata)


def require_model_name(name: str) -> None:
    """Check the name of a registered model; empty stands for the usual one.

    Raises:
        ConfigError: MLflow would refuse it, at the end of the training.
    """
    if any(mark in name for mark in "/:") or (name and not name.strip()):
        raise ConfigError(f"model_name={name}: expected a name without '/' and ':'")


def option_name(field: "dataclasses.Field[Any]") -> str:
    """Return the name under which users give this field."""
    return str(field.metadata.get("option", field.name))


def fields(config: Config) -> Iterator[tuple[str, "dataclasses.Field[Any]", Any]]:
    """Yield (part, field, value) of each setting, in the order of their declaration."""
    for part in dataclasses.fields(config):
        values = getattr(config, part.name)
        for field in dataclasses.fields(values):
            yield part.name, field, getattr(values, field.name)


def problems(settings: Any) -> list[str]:
    """Say of each impossible value of a dataclass of settings what is wrong with it."""
    return [
        text
        for field in dataclasses.fields(settings)
        if (text := _problem(field, getattr(settings, field.name)))
    ]


def _problem(field: "dataclasses.Field[Any]", value: Any) -> str | None:
    """Say in one clause what is wrong with a value, or None."""
    name, limits = option_name(field), field.metadata
    if "choices" in limits:
        bad = value not in limits["choices"]
        expected = "one of " + ", ".join(limits["choices"])
    elif isinstance(value, str):
        bad = not value.strip() if field.type is str else value != "all"
        expected = "a text that is not empty" if field.type is str else "a number or 'all'"
    else:
        low, above = limits.get("low"), limits.get("above")
        high, below = limits.get("high"), limits.get("below")
        # Written so that a NaN, which compares false with everything, is refused too.
        inside = (
            (low is None or value >= low)
            and (above is None or value > above)
            and (high is None or value <= high)
            and (below is None or value < below)
        )
        bad = not inside
        bounds = (
            f"at least {low}" if low is not None else "",
            f"more than {above}" if above is not None else "",
            f"at most {high}" if high is not None else "",
            f"less than {below}" if below is not None else "",
        )
        expected = " and ".join(bound for bound in bounds if bound)
    return f"{name}={value}: expected {expected}" if bad else None
