"""Start a training as several processes of this machine, with PyTorch's elastic launcher.

The library's documentation: "torchrun (Elastic Launch)" and `torch.distributed.launcher.api`.
"""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from segmentation.errors import TrainingError
from segmentation.runtime import exit_code
from segmentation.utils.environment import environment

#: So often processes are started anew after one of them has died.
RESTARTS = 3


def launch(module: str, arguments: Sequence[str], processes: int) -> int:
    """Run a module in several processes that find each other; return the exit code.

    If one of them dies, all are started anew, a few times.

    Args:
        module: as after `python -m`.
        arguments: of its command line.
        processes: how many, at least 1.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the processes have ended.
        TrainingError: one of them died again and again.
    """
    # What its processes say is enough; the launcher's words are for who debugs it. Each of its
    # modules has a level of its own.
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    threads = max(1, (os.cpu_count() or 1) // processes)
    with tempfile.TemporaryDirectory(prefix="petseg-") as folder:
        code = Path(folder) / "ending"
        settings = {exit_code.VARIABLE: str(code)}
        # Else processes that are started anew may find the addresses of dead ones in the store by
        # which they meet (PyTorch's issue 135712).
        settings["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        usual = {"OMP_NUM_THREADS": str(threads)}
        if sys.platform == "linux":
            usual["GLOO_SOCKET_IFNAME"] = "lo"  # whatever the host's name stands for
        settings |= {name: text for name, text in usual.items() if name not in os.environ}
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=RESTARTS,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
            signals_to_handle=",".join(_heard()),
        )
        try:
            with environment(settings):
                elastic_launch(config, sys.executable)("-m", module, *arguments)
        except SignalException as error:
            if code.exists():  # the main process has told of it
                return int(code.read_text())
            raise KeyboardInterrupt from error
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            raise TrainingError(
                f"process {rank} of the training ended with {failure.exitcode}, and did so after "
                f"{RESTARTS} new starts; go on from the last checkpoint with resume"
            ) from error
        return int(code.read_text()) if code.exists() else 0


def _heard() -> list[str]:
    """Return the signals that end it; `nohup` has it ignore one of them."""
    names = ["SIGTERM", "SIGINT", "SIGHUP"]
    return [name for name in names if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN]
