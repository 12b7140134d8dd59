"""Archives in place of the data set's, each to be refused in one sentence with nothing left."""

import io
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.datasets import OxfordIIITPet

from segmentation.data.prepare.download import download
from segmentation.errors import PetsegError
from tests.helpers.loopback import Server, archives_of

#: Makes two archives bad: from the good images.tar.gz and annotations.tar.gz.
Spoiler = Callable[[bytes, bytes], tuple[bytes, bytes]]

ESCAPED = "escaped.txt"


def _tar(*members: tarfile.TarInfo) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO())
    return stream.getvalue()


def _member(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", **pax: str
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.pax_headers = kind, target, pax
    return member


def _repacked(tar: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(tar) + packer.flush()


def _huge() -> bytes:
    """A head that promises a terabyte, and little behind it."""
    member = _member("images/a.jpg")
    member.size = 2**40
    return _repacked(member.tobuf() + bytes(512))


#: In place of the photos alone.
IMAGES = {
    "member with ..": _tar(_member("../" * 4 + ESCAPED)),
    "member with .. behind a folder": _tar(_member(f"images/{'../' * 6}{ESCAPED}")),
    "absolute name": _tar(_member(f"/{ESCAPED}")),
    "absolute link": _tar(_member("images/a.jpg", tarfile.SYMTYPE, "/etc/passwd")),
    "hard link out": _tar(_member("images/a.jpg", tarfile.LNKTYPE, "../../../" + ESCAPED)),
    "write through a link": _tar(
        _member("images", tarfile.SYMTYPE, "../../../.."), _member(f"images/{ESCAPED}")
    ),
    "device": _tar(_member("images/a.jpg", tarfile.CHRTYPE)),
    "pipe": _tar(_member("images/a.jpg", tarfile.FIFOTYPE)),
    "name with a zero byte": _tar(_member("images/a.jpg", path="a\0b")),
    "time beyond all times": _tar(_member("images/a.jpg", mtime="1e300")),
    "wrong member's head": _repacked(bytes(100)),
    "huge member that is not there": _huge(),
    "no gzip": b"<html>404</html>",
    "no photos": _repacked(bytes(1024)),
}


#: In place of both.
BOTH: dict[str, Spoiler] = {
    "cut off": lambda images, annotations: (images[: len(images) // 2], annotations),
    "cut within its magic": lambda images, annotations: (images, annotations[:1]),
    "no lists": lambda images, annotations: (images, _repacked(bytes(1024))),
    "only lists": lambda images, annotations: (images, _tar(_member("annotations/test.txt"))),
}
# What a tar does not notice, but the data set's published checksums tell.
WRONG_BYTE = "wrong byte"


@pytest.fixture(scope="module")
def good(pets: Path) -> dict[str, bytes]:
    return archives_of(pets)


@pytest.mark.parametrize("kind", [*IMAGES, *BOTH, WRONG_BYTE])
def test_a_bad_archive_is_refused_in_a_sentence_and_leaves_nothing(
    tmp_path: Path, good: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    images, annotations = good.values()
    if kind in IMAGES:
        images = IMAGES[kind]
    elif kind == WRONG_BYTE:
        images = images[:-100] + bytes(4) + images[-96:]
    else:
        images, annotations = BOTH[kind](images, annotations)
    bad = dict(zip(good, (images, annotations), strict=True))
    server = Server(bad, published=good if kind == WRONG_BYTE else bad)
    cache = tmp_path / "a" / "b" / "cache"
    monkeypatch.setenv("PETSEG_CACHE", str(cache))
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", server.resources())
    try:
        with pytest.raises(
            PetsegError, match=r"^the data set could not be downloaded to "
        ) as raised:
            download()
    finally:
        server.close()
    assert "\n" not in str(raised.value)
    assert {path.name for path in cache.iterdir()} <= {"oxford-iiit-pet.lock"}
    assert not Path("/", ESCAPED).exists()
    assert not list(tmp_path.rglob(ESCAPED))


def test_a_download_that_breaks_off_leaves_nothing_and_the_next_starts_again(
    tmp_path: Path, good: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(good)
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", server.resources())
    try:
        server.behavior = "break off"
        with pytest.raises(PetsegError, match=r"be downloaded .* run the same command again"):
            download()
        assert [path.name for path in tmp_path.iterdir()] == ["oxford-iiit-pet.lock"]
        server.behavior = "good"
        for _ in range(2):  # the second time it is there
            download()
    finally:
        server.close()
    assert len(server.asked) == 1 + 2
    assert {path.name for path in (tmp_path / "oxford-iiit-pet").iterdir()} == {
        "annotations",
        "images",
    }
