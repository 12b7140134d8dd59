"""Finds a JPEG that ends too early, be it behind its last pixel."""

_END = b"\xff\xd9"
_DATA = 0xDA  # begins the pixels
_ALONE = {0x01, *range(0xD0, 0xD9)}  # marks without a length behind them


def is_cut_off(content: bytes) -> bool:
    """Tell whether a JPEG has no end behind the beginning of its pixels.

    Pillow needs the end or not, as the last bits of the pixels happen to fall. Where the head is
    not as it should be, nothing is told: Pillow has its own way with it.
    """
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        mark = content[at + 1]
        if mark == _DATA:  # among pixels these two bytes stand for nothing else
            return content.find(_END, at) < 0
        if mark == 0xFF:  # may be repeated
            at += 1
        elif mark in _ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return False
