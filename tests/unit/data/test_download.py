"""Archives in place of the data set's, each to be refused in one sentence with nothing left."""

import contextlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.datasets import OxfordIIITPet

from segmentation.data.prepare.download import download
from segmentation.errors import PetsegError
from tests.helpers.loopback import Server, archives_of

IMAGES, ANNOTATIONS = "images.tar.gz", "annotations.tar.gz"
ESCAPED = "escaped.txt"


def _tar(*members: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO())
    return stream.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


_LINK = _member("images", tarfile.SYMTYPE, "../../../..")

#: Which archive is bad, and what it becomes.
BAD: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "member with ..": (IMAGES, lambda _: _tar(_member(f"images/{'../' * 6}{ESCAPED}"))),
    "link out": (IMAGES, lambda _: _tar(_member("images/a.jpg", tarfile.SYMTYPE, "/etc/passwd"))),
    "write through a link": (IMAGES, lambda _: _tar(_LINK, _member(f"images/{ESCAPED}"))),
    "device": (IMAGES, lambda _: _tar(_member("images/a.jpg", tarfile.CHRTYPE))),
    "no gzip": (IMAGES, lambda _: b"<html>404</html>"),
    "no photos": (IMAGES, lambda _: _tar()),
    "only lists": (ANNOTATIONS, lambda _: _tar(_member("annotations/test.txt"))),
    "cut off": (IMAGES, lambda good: good[: len(good) // 2]),
    # What a tar does not notice, but the data set's published checksums tell.
    "wrong byte": (IMAGES, lambda good: good[:-100] + bytes(4) + good[-96:]),
}


@pytest.fixture(scope="module")
def good(pets: Path) -> dict[str, bytes]:
    return archives_of(pets)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_refused_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, good: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    cache = tmp_path / "a" / "b" / "cache"
    monkeypatch.setenv("PETSEG_CACHE", str(cache))
    name, spoiled = BAD[kind]
    bad = good | {name: spoiled(good[name])}
    with contextlib.closing(Server(bad)) as server:
        published = good if kind == "wrong byte" else bad
        monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", server.resources(published))
        expected = r"^the data set could not be downloaded .* run the same command again"
        with pytest.raises(PetsegError, match=expected) as raised:
            download()
    assert "\n" not in str(raised.value)
    assert {path.name for path in cache.iterdir()} <= {"oxford-iiit-pet.lock"}
    assert not Path("/", ESCAPED).exists()
    assert not list(tmp_path.rglob(ESCAPED))
