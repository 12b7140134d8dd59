"""Start a training as several processes of this machine, as `torchrun` does.

The library's documentation: "torchrun (Elastic Launch)" and `torch.distributed.launcher.api`.
"""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from segmentation.errors import TrainingError
from segmentation.runtime.signals import end_signals
from segmentation.utils.concurrency import CORES
from segmentation.utils.environment import environment

#: So often processes are started anew after one of them was killed.
RESTARTS = 3


def launch(module: str, arguments: Sequence[str], processes: int) -> int:
    """Run a module, as `python -m` does, in processes that find each other; return the exit code.

    If one of them is killed, all are started anew, a few times; then a TrainingError says so.
    """
    for name in list(logging.root.manager.loggerDict):  # only the processes say what is wrong
        if name.startswith("torch.distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    defaults = {"OMP_NUM_THREADS": str(max(1, CORES // processes))}
    if sys.platform == "linux":
        defaults["GLOO_SOCKET_IFNAME"] = "lo"  # whatever the host's name stands for
    unset = {name: value for name, value in defaults.items() if name not in os.environ}
    with environment(unset), tempfile.TemporaryDirectory(prefix="petseg-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,  # the same at each start: the training's run is found by it
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,  # torchrun would restart a process that has said what is wrong, too
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            signals_to_handle=",".join(kind.name for kind in _signals()),
        )
        for _ in range(1 + RESTARTS):
            try:
                elastic_launch(config, sys.executable)("-m", module, *arguments)
                return 0
            except SignalException:
                return 1  # the main process has said so
            except ChildFailedError as error:
                codes = [failure.exitcode for failure in error.failures.values()]
                # SIGTERM is how the others are ended.
                killed = [code for code in codes if code < 0 and code != -signal.SIGTERM]
                if not killed:
                    return max(1, *codes)
    raise TrainingError(
        f"a process of the training was killed by {signal.Signals(-killed[0]).name}, and so was "
        f"one after each of {RESTARTS} new starts; go on from the last checkpoint with resume"
    )


def _signals() -> list[signal.Signals]:
    """Return the signals that end it; a shell has its background jobs ignore SIGINT.

    SIGHUP becomes SIGTERM: as it is it would end all that the processes have started, too.
    """
    if signal.SIGHUP in end_signals():
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGINT, signal.SIGTERM]
