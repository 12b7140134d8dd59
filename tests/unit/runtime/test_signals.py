"""What ends a program: Ctrl-C, SIGTERM, a closed terminal unless `nohup` was said."""

import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from segmentation.runtime.signals import StopSignal, end_like_ctrl_c

KINDS = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {kind: signal.getsignal(kind) for kind in KINDS}
    hook = sys.unraisablehook
    yield
    sys.unraisablehook = hook
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.mark.parametrize("kind", KINDS)
def test_each_ends_the_program_or_is_noted_while_it_must_not(kind: signal.Signals) -> None:
    signal.signal(kind, signal.SIG_DFL)  # whatever started the tests may ignore it
    end_like_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), kind)
    stop = StopSignal()
    with stop.defer():
        os.kill(os.getpid(), kind)
    assert stop.requested


def test_one_that_comes_while_an_object_is_removed_is_not_lost() -> None:
    class Removed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def remove_one() -> None:
        Removed()
        time.sleep(60)

    end_like_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        remove_one()


def test_a_program_under_nohup_outlives_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_like_ctrl_c()
    stop = StopSignal()
    with stop.defer():
        os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGHUP)
    assert not stop.requested
