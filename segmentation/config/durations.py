"""Times as users write them."""

import re

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> float | None:
    """Return the seconds of a time such as `90s`, `20m`, `1.5h` or `30d`; None if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    return float(match[1]) * _UNITS[match[2]] if match else None
