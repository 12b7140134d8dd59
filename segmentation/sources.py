"""From the parameter `data` to a folder, and to words that say what it is."""

import dataclasses
from pathlib import Path

from segmentation.paths import dataset_folder
from segmentation.pets import find_root
from segmentation.synthetic import synthetic_folder

_HOW_TO_GET_IT = "`mlflow run . -e prepare` downloads the real Oxford-IIIT Pet (800 MB)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A data set on disk.

    Attributes:
        root: the folder that holds `images` and `annotations`.
        drawn: whether it is the built-in sample.
        words: one line for people, with what to do for other data.
    """

    root: Path
    drawn: bool
    words: str


def find_source(data: str) -> Source:
    """Resolve `auto`, `synthetic` or a folder; never downloads.

    Raises:
        DataError: the folder has not the layout of Oxford-IIIT Pet.
    """
    if data == "auto" and dataset_folder().is_dir():
        return Source(
            root=find_root(dataset_folder()),
            drawn=False,
            words=f"Data: Oxford-IIIT Pet, prepared in {dataset_folder()}",
        )
    if data in ("auto", "synthetic"):
        why = "no prepared data set found; " if data == "auto" else ""
        return Source(
            root=synthetic_folder(),
            drawn=True,
            words=f"Data: the built-in sample of drawn pets ({why}{_HOW_TO_GET_IT})",
        )
    root = find_root(Path(data).expanduser().absolute())
    return Source(root=root, drawn=False, words=f"Data: {root}")
