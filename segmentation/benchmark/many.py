"""Thousands of drawn pets, drawn once and kept in the cache."""

import contextlib
import functools
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from segmentation.data.oxford_pets import Example
from segmentation.data.splits import in_gate
from segmentation.data.synthetic.dataset import draw_pet, pet_name
from segmentation.utils.concurrency import Progress
from segmentation.utils.files import create_once
from segmentation.utils.paths import cache_folder

_VERSION = 1  # raised when what is drawn changes
_SEED = 1
_VAL = 20


def many_pets(count: int, progress: Progress) -> Path:
    """Return a folder with so many pets to train on and 20 to validate, drawing it the first time.

    Args:
        count: of those to train on.
        progress: told how many are drawn.
    """

    def draw_all(folder: Path) -> None:
        _draw_all(folder, count + _VAL, progress)

    return create_once(cache_folder() / f"benchmark-{_VERSION}-{count}", draw_all)


def _draw_all(folder: Path, count: int, progress: Progress) -> None:
    (folder / "images").mkdir()
    (folder / "annotations" / "trimaps").mkdir(parents=True)
    numbers = [number for number, _ in zip(_drawn_numbers(), range(count), strict=False)]
    # Spawned: threads run by now, and a forked process would inherit whatever locks they hold.
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        work = functools.partial(draw_pet, folder, seed=_SEED)
        with _deaf_to_ctrl_c():  # the pool starts its processes here
            drawn = pool.map(work, numbers, chunksize=16)
        try:
            for done, _ in enumerate(drawn, 1):
                progress(done, count)
        except BaseException:  # what is drawn by now is thrown away
            pool.shutdown(cancel_futures=True)
            raise
    names = [pet_name(number) for number in numbers]
    lines = [f"{name} 1 {1 if name[0].isupper() else 2} 1" for name in names]
    (folder / "annotations" / "trainval.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Ignore Ctrl-C; processes that are started meanwhile do so for good.

    A terminal's Ctrl-C reaches every process: only the parent decides what it means.
    """
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _drawn_numbers() -> Iterator[int]:
    """Yield those whose names are not in the gate split, on which nobody trains."""
    number = 0
    while True:
        name = pet_name(number)
        example = Example(id=name, breed="", species="cat", image=Path(), trimap=Path())
        if not in_gate(example):
            yield number
        number += 1
