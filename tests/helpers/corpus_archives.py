"""Archives in place of the data set's, each to be refused in one sentence with nothing left."""

import contextlib
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from torchvision.datasets import OxfordIIITPet

from segmentation.data.prepare.download import download
from segmentation.errors import PetsegError
from segmentation.utils.environment import environment
from tests.helpers.loopback import Server, archives_of

#: Makes the two archives bad: from the good images.tar.gz and annotations.tar.gz.
Spoiler = Callable[[bytes, bytes], tuple[bytes, bytes]]

ESCAPED = "escaped.txt"
#: What a tar does not notice, but the data set's published checksums tell.
CHECKED = ("cut off by one byte", "wrong bytes")


def archives() -> dict[str, Spoiler]:
    """Every bad pair of archives, by kind."""
    return {
        "member with ..": _added("../" * 4 + ESCAPED, tarfile.REGTYPE),
        "member with .. behind a folder": _added(f"images/{'../' * 6}{ESCAPED}", tarfile.REGTYPE),
        "absolute name": _added(f"/{ESCAPED}", tarfile.REGTYPE),
        "link out by ..": _added("images/a.jpg", tarfile.SYMTYPE, "../../../../" + ESCAPED),
        "absolute link": _added("images/a.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        "hard link out": _added("images/a.jpg", tarfile.LNKTYPE, "../../../" + ESCAPED),
        "hard link to nothing": _added("images/a.jpg", tarfile.LNKTYPE, "images/nothing"),
        "write through a link": _through_a_link,
        "device": _added("images/a.jpg", tarfile.CHRTYPE),
        "pipe": _added("images/a.jpg", tarfile.FIFOTYPE),
        "name with a zero byte": _with_pax("a\0b"),
        "time beyond all times": _with_time,
        "cut off": lambda images, annotations: (images[: len(images) // 2], annotations),
        "cut off by one byte": lambda images, annotations: (images[:-1], annotations),
        "cut within its magic": lambda images, annotations: (images, annotations[:1]),
        "wrong bytes": lambda images, annotations: (_wrong(images), annotations),
        "wrong member's head": lambda images, annotations: (_repacked(bytes(100)), annotations),
        "huge member that is not there": _huge,
        "no gzip": lambda images, annotations: (b"<html>404</html>", annotations),
        "a web page within": lambda images, annotations: (_repacked(b"<html>" * 200), annotations),
        "no photos": lambda images, annotations: (_repacked(bytes(1024)), annotations),
        "no lists": lambda images, annotations: (images, _repacked(bytes(1024))),
        "only lists": lambda images, annotations: (images, _without_trimaps()),
        "malformed list": lambda images, annotations: (images, _without_trimaps(b"a_1\n")),
        "list that is no text": lambda images, annotations: (images, _without_trimaps(b"\xff\xfe")),
    }


def serving(kind: str, good: Path) -> Server:
    """A server on loopback with the archives of a whole data set, made bad."""
    before = archives_of(good)
    spoilt = dict(zip(before, archives()[kind](*before.values()), strict=True))
    return Server(spoilt, published=before if kind in CHECKED else spoilt)


def tried(kind: str, good: Path, place: Path) -> str:
    """Download archives that are bad.

    Args:
        kind: in which way.
        good: a whole data set.
        place: a folder that is new; the cache lies deep within.

    Returns:
        What is wrong with the answer; empty if it is one sentence and nothing is left.
    """
    cache = place / "a" / "b" / "cache"
    with _taken_for_the_real_ones(kind, good), environment({"PETSEG_CACHE": str(cache)}):
        try:
            download()
        except PetsegError as error:
            text = str(error)
        else:
            return "laid down as if it were the data set"
    left = {path.name for path in place.rglob("*")} - {"a", "b", "cache", "oxford-iiit-pet.lock"}
    if left or Path("/", ESCAPED).exists():
        return f"left {sorted(left)}"
    told = text.startswith("the data set could not be downloaded to ") and "\n" not in text
    return "" if told else text


@contextlib.contextmanager
def _taken_for_the_real_ones(kind: str, good: Path) -> Iterator[None]:
    """Have torchvision download the bad archives."""
    server = serving(kind, good)
    before = OxfordIIITPet._RESOURCES
    OxfordIIITPet._RESOURCES = server.resources()
    try:
        yield
    finally:
        OxfordIIITPet._RESOURCES = before
        server.close()


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def _member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def _added(name: str, kind: bytes, target: str = "") -> Spoiler:
    """Images alone in a new archive with one bad member in front."""
    return lambda images, annotations: (_tar((_member(name, kind, target), b"")), annotations)


def _through_a_link(images: bytes, annotations: bytes) -> tuple[bytes, bytes]:
    """A link that leads out, then a member that would be written through it."""
    link = _member("images", tarfile.SYMTYPE, "../../../..")
    return _tar((link, b""), (_member(f"images/{ESCAPED}"), b"out")), annotations


def _with_pax(name: str) -> Spoiler:
    member = _member("images/a.jpg")
    member.pax_headers = {"path": name}
    return lambda images, annotations: (_tar((member, b"")), annotations)


def _with_time(images: bytes, annotations: bytes) -> tuple[bytes, bytes]:
    member = _member("images/a.jpg")
    member.pax_headers = {"mtime": "1e300"}
    return _tar((member, b"")), annotations


def _huge(images: bytes, annotations: bytes) -> tuple[bytes, bytes]:
    """A head that promises a terabyte, and little behind it."""
    member = _member("images/a.jpg")
    member.size = 2**40
    return _repacked(member.tobuf() + bytes(512)), annotations


def _wrong(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(64) + content[middle + 64 :]


def _repacked(tar: bytes) -> bytes:
    """Gzip what need not be a tar."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(tar) + packer.flush()


def _without_trimaps(trainval: bytes = b"a_1 1 1 1\n") -> bytes:
    return _tar((_member("annotations/trainval.txt"), trainval))
