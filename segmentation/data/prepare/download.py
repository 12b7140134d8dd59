"""Downloads the real data set into the cache folder, whole or not at all."""

import shutil
import tarfile
from pathlib import Path

from segmentation.data.oxford_pets import missing_parts
from segmentation.errors import PetsegError
from segmentation.utils.files import create_once
from segmentation.utils.paths import dataset_folder


def download() -> None:
    """Download and unpack the data set, unless it is there.

    torchvision downloads, shows progress and compares the archives' checksums. All happens in a
    folder beside the final one, which is renamed at the end: a broken download leaves nothing that
    looks whole, and the next call starts again.

    Raises:
        PetsegError: the download fails; nothing is left.
    """
    folder = dataset_folder()
    try:
        create_once(folder, _fetch)
    except Exception as error:  # a broken archive makes tar, zlib and torchvision raise any of them
        raise PetsegError(
            f"the data set could not be downloaded to {folder} ({error}); nothing was left there. "
            "Check the network and the free space (2 GB), then run the same command again; or get "
            "the two archives yourself, unpack them into one folder, and say data=FOLDER"
        ) from error


def _fetch(stage: Path) -> None:
    """Download and unpack into `stage`, in the layout of the data set."""
    from torchvision.datasets import OxfordIIITPet

    # Members that lead out of the folder are refused (the default from Python 3.14 on).
    before = tarfile.TarFile.extraction_filter
    tarfile.TarFile.extraction_filter = staticmethod(tarfile.data_filter)
    try:
        OxfordIIITPet(str(stage / "root"), download=True)
    finally:
        tarfile.TarFile.extraction_filter = before
    for part in ("images", "annotations"):
        shutil.move(stage / "root" / "oxford-iiit-pet" / part, stage / part)
    shutil.rmtree(stage / "root")  # the archives
    if missing := missing_parts(stage):
        raise OSError(f"the archives hold no {', '.join(missing)}")
