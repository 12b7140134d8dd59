"""A machine on which nothing can be drawn."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest


@contextlib.contextmanager
def broken_drawing() -> Iterator[None]:
    """Let every figure and every panel of a photo fail, in this process."""

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no fonts")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", fail)
        patch.setattr("segmentation.evaluation.pictures.views", fail)
        yield
