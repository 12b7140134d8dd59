"""From the parameter `data` to a folder, and to text that says what it is."""

import dataclasses
from pathlib import Path

from segmentation.data.oxford_pets import HOW_TO_PREPARE, find_root, missing_parts
from segmentation.data.synthetic.dataset import synthetic_folder
from segmentation.errors import DataError
from segmentation.utils.paths import dataset_folder, printable, user_path

_HOW_TO_GET_IT = f"`{HOW_TO_PREPARE}` downloads the real Oxford-IIIT Pet (800 MB)"
_CITED = (
    "(O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, *Cats and Dogs*, CVPR 2012), licence "
    "CC BY-SA 4.0"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A data set on disk.

    Attributes:
        root: the folder that holds `images` and `annotations`.
        is_synthetic: whether it is the built-in sample of drawn pets.
        summary: one line for people, with what to do for other data.
        description: what it is and under which license, in Markdown.
    """

    root: Path
    is_synthetic: bool
    summary: str
    description: str

    @property
    def name(self) -> str:
        """Return `synthetic` or the folder."""
        return "synthetic" if self.is_synthetic else printable(str(self.root))

    @property
    def model_name(self) -> str:
        """Return the usual name of a model that is trained on it."""
        return "pet-unet-synthetic" if self.is_synthetic else "pet-unet"


def prepared_dataset() -> Source | None:
    """Return the data set that `prepare` downloaded, or None.

    Raises:
        DataError: there is something in its place that is no whole data set.
    """
    folder = dataset_folder()
    if not folder.exists():
        return None
    if missing := missing_parts(folder):
        raise DataError(
            f"{folder} is in the place of the prepared data set but has no {', '.join(missing)}; "
            f"remove it, then `{HOW_TO_PREPARE}` downloads the data set again"
        )
    summary = f"Oxford-IIIT Pet, prepared in {printable(str(folder))}"
    return _on_disk(folder, summary, "Oxford-IIIT Pet")


def resolve_source(data: str) -> Source:
    """Resolve `auto`, `synthetic` or a folder; never downloads.

    Raises:
        DataError: the folder has not the layout of Oxford-IIIT Pet.
    """
    if data == "auto" and (source := prepared_dataset()):
        return source
    if data in ("auto", "synthetic"):
        why = "no prepared data set found; " if data == "auto" else ""
        return Source(
            root=synthetic_folder(),
            is_synthetic=True,
            summary=f"Data: the built-in sample of drawn pets ({why}{_HOW_TO_GET_IT})",
            description="the drawn sample that comes with the code: no photographs",
        )
    root = find_root(user_path(data, "data"))
    shown = printable(str(root))
    return _on_disk(root, shown, f"the folder `{shown}`, in the layout of Oxford-IIIT Pet")


def absolute(data: str) -> str:
    """Return the parameter `data` so that it means the same in another working folder."""
    return data if data in ("auto", "synthetic") else str(user_path(data, "data"))


def require_source(data: str, run: str) -> None:
    """Check that the data of an earlier run, such as `like=ID`, is still where it was.

    Raises:
        DataError: it is not.
    """
    try:
        if data != "synthetic":
            resolve_source(data)
    except DataError as error:
        raise DataError(
            f"{error}; this is the data of {run}: if it lies elsewhere now, give `data`"
        ) from error


def _on_disk(root: Path, summary: str, description: str) -> Source:
    return Source(
        root=root,
        is_synthetic=False,
        summary=f"Data: {summary}",
        description=f"{description} {_CITED}",
    )
