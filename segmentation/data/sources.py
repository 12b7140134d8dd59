"""From the parameter `data` to a folder, and to text that says what it is."""

import dataclasses
import re
from functools import cached_property
from pathlib import Path

from segmentation.config.training import DataConfig, own_data, values_of
from segmentation.data.example import OXFORD, Example, Labels
from segmentation.data.image_folders import is_image_folder, read_image_folder
from segmentation.data.oxford_pets import HOW_TO_PREPARE, find_root, missing_parts, read_lists
from segmentation.data.synthetic import synthetic_folder
from segmentation.errors import ConfigError, DataError
from segmentation.utils.paths import dataset_folder, printable, user_path

_HOW_TO_GET_IT = f"`{HOW_TO_PREPARE}` downloads the real Oxford-IIIT Pet (800 MB)"
_CITED = (
    "(O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, *Cats and Dogs*, CVPR 2012), licence "
    "CC BY-SA 4.0"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A data set on disk."""

    root: Path  # the folder that holds `images` and `annotations`, or `images` and `masks`
    is_synthetic: bool = False  # the built-in sample of drawn pets
    summary: str  # one line for people, with what to do for other data
    description: str  # what it is and under which license, in Markdown
    config: DataConfig
    labels: Labels = OXFORD

    @property
    def name(self) -> str:
        return "synthetic" if self.is_synthetic else printable(str(self.root))

    @property
    def kind(self) -> str:
        """What runs and data sets of it are called: `synthetic`, `pets`, or as its own folder."""
        pets = "synthetic" if self.is_synthetic else "pets"
        return pets if self.labels.trimap else self.model_name.removesuffix("-unet")

    @property
    def model_name(self) -> str:
        pets = "pet-unet-synthetic" if self.is_synthetic else "pet-unet"
        return pets if self.labels.trimap else folder_model_name(self.root)

    @property
    def options(self) -> dict[str, str]:
        """The parameters by which a command takes the same data; none for the sample."""
        if self.is_synthetic:
            return {}
        return {"data": self.name} | {name: str(v) for name, v in own_data(self.config).items()}

    def trainval(self) -> list[Example]:
        """Read the examples that may train or choose anything.

        Raises:
            DataError: lists cannot be used, or share examples; or images and masks are no pairs.
        """
        return self._lists["trainval"]

    def test(self) -> list[Example]:
        """Read the examples that are for evaluation alone, if any; raises as `trainval` does."""
        return self._lists["test"]

    @cached_property
    def _lists(self) -> dict[str, list[Example]]:
        own = self.labels, self.config.groups
        return read_lists(self.root) if self.labels.trimap else read_image_folder(self.root, *own)


def folder_model_name(root: Path) -> str:
    """Return the usual name of a model of own images, by the name of their folder."""
    name = re.sub(r"[^\w.-]+", "-", printable(root.name)).strip("-.")
    return f"{name[:100] or 'own'}-unet"


def prepared_dataset(config: DataConfig) -> Source | None:
    """Return the data set that `prepare` downloaded, or None.

    Raises:
        ConfigError: settings are given that are of own images.
        DataError: there is something in its place that is no whole data set.
    """
    _require_no_own_data(config)
    folder = dataset_folder()
    if not folder.exists():
        return None
    if missing := missing_parts(folder):
        raise DataError(
            f"{folder} is in the place of the prepared data set but has no {', '.join(missing)}; "
            f"remove it, then `{HOW_TO_PREPARE}` downloads the data set again"
        )
    summary = f"Oxford-IIIT Pet, prepared in {printable(str(folder))}"
    return _oxford(folder, summary, "Oxford-IIIT Pet", config)


def resolve_source(config: DataConfig) -> Source:
    """Resolve `auto`, `synthetic` or a folder; never downloads.

    Raises:
        ConfigError: settings are given that are of another layout.
        DataError: the folder has no layout that is known.
    """
    data, folder = config.source, user_path(config.source, "data")
    if is_own(data):
        return _own_images(folder, config)
    _require_no_own_data(config)
    if data == "auto" and (source := prepared_dataset(config)):
        return source
    if data in ("auto", "synthetic"):
        why = "no prepared data set found; " if data == "auto" else ""
        return Source(
            root=synthetic_folder(),
            is_synthetic=True,
            summary=f"Data: the built-in sample of drawn pets ({why}{_HOW_TO_GET_IT})",
            description="the drawn sample that comes with the code: no photographs",
            config=config,
        )
    root = find_root(folder)
    shown = printable(str(root))
    layout = "in the layout of Oxford-IIIT Pet"
    return _oxford(root, f"{shown}, {layout}", f"the folder `{shown}`, {layout}", config)


def is_own(data: str) -> bool:
    """Tell whether the parameter `data` is a folder of own images and masks."""
    return data not in ("auto", "synthetic") and is_image_folder(user_path(data, "data"))


def _require_no_own_data(config: DataConfig) -> None:
    if given := ", ".join(f"{name}={value}" for name, value in own_data(config).items()):
        raise ConfigError(
            f"{given}: is for own images and masks, and data={config.source} is none; leave "
            "it out, or give a folder that holds images/ and masks/"
        )


def absolute(data: str) -> str:
    """Return the parameter `data` so that it means the same in another working folder."""
    return data if data in ("auto", "synthetic") else str(user_path(data, "data"))


def require_source(data: str, run: str) -> None:
    """Check that the data of an earlier run, such as `like=ID`, is still where it was.

    Raises:
        DataError: it is not.
    """
    try:
        if data != "synthetic" and not is_own(data):
            resolve_source(DataConfig(source=data))
    except DataError as error:
        raise DataError(
            f"{error}; this is the data of {run}: if it lies elsewhere now, give `data`"
        ) from error


def _own_images(root: Path, config: DataConfig) -> Source:
    if config.border != DataConfig().border:
        raise ConfigError(
            f"border={config.border}: is of Oxford-IIIT Pet's trimaps, and {root} has masks; leave "
            "it out, and say which values do not count, such as ignore=3"
        )
    shown = printable(str(root))
    return Source(
        root=root,
        summary=f"Data: {shown}, own images and masks",
        description=f"the folder `{shown}` of own images and masks",
        config=config,
        labels=Labels(
            foreground=values_of("foreground", config.foreground),
            ignored=values_of("ignore", config.ignore),
            threshold=config.mask_threshold,
            empty=config.empty == "allow",
        ),
    )


def _oxford(root: Path, summary: str, description: str, config: DataConfig) -> Source:
    return Source(
        root=root,
        summary=f"Data: {summary}",
        description=f"{description} {_CITED}",
        config=config,
    )
