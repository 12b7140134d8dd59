"""One training of suite `scale`, in a process of its own: prints its time and memory as JSON.

python -m segmentation.benchmark.scale_job FOLDER IMAGES SIZE WIDTH EPOCHS DEVICE
"""

import json
import resource
import sys
import threading
from pathlib import Path

from segmentation.benchmark.ours import trainer
from segmentation.benchmark.pairing import seconds
from segmentation.config.training import Config
from segmentation.data.sources import resolve_source
from segmentation.runtime.device import choose_compute
from segmentation.workflows.session import load_data

_STATUS = Path("/proc/self/status")
_MIB = 2**20


def main() -> None:
    """Read, train some epochs, print."""
    folder, images, size, width, epochs, device = sys.argv[1:]
    config = Config.from_options(
        {"data": folder, "train_images": int(images), "image_size": int(size), "device": device}
    )
    compute = choose_compute(config.training)
    own = Anonymous()
    own.start()
    found = {}

    def read() -> None:
        found.update(load_data(config.data, resolve_source(folder), lambda *_: None))

    loading = seconds(read, compute.device)
    one = trainer(
        config,
        found,
        compute,
        width=int(width),
        patch=config.model.patch,
        epochs=int(epochs) + 1,
    )
    one.validate()  # warms up
    times = [len(found["train"]) / one.train_epoch(n)[1] for n in range(1, int(epochs) + 1)]
    own.stop()
    told = {"peak": _peak() / _MIB, "anonymous": own.peak / _MIB}
    print(json.dumps({"seconds": times, "loading": loading, **told}))


def _peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    if _STATUS.exists():
        return _read("VmHWM")
    # What Linux says here is at least what the process had that started this one.
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, else KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _read(name: str) -> int:
    """Return an entry of Linux's facts about this process, in bytes."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024


class Anonymous(threading.Thread):
    """Watches how much memory the process holds that no file backs.

    Attributes:
        peak: the most that was seen, in bytes; 0 where the system does not tell.
    """

    def __init__(self, interval: float = 0.05) -> None:
        """Look every `interval` seconds, once started."""
        super().__init__(daemon=True)
        self.peak = 0
        self._interval, self._over = interval, threading.Event()

    def run(self) -> None:
        """Look until stopped."""
        while _STATUS.exists():
            self.peak = max(self.peak, _read("RssAnon"))
            if self._over.wait(self._interval):
                return

    def stop(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()


if __name__ == "__main__":
    main()
