"""A rehearsal of the full data set: as many drawn pictures, verified by `prepare` and trained on.

python docs/measurements/full.py [EPOCHS]      in an empty folder

7,349 pictures: 3,680 to train on, 100 to validate, the others on the test list. Told are, by number
of images and of processes, the seconds of an epoch and the most memory that any process had, files
that the system may drop included (RSS) and without them (anonymous).
"""

import itertools
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import mlflow
import psutil

from segmentation.benchmark.many import many_pets
from tests.helpers.programs import Program, entry_command

_TRAIN, _TEST = 3680, 3569
_COUNTS = (100, 1000, _TRAIN)
_VAL = 100


def drawn() -> Path:
    """Return the data set; 20 of the validated ones come from `many_pets`."""
    folder = many_pets(_TRAIN + _VAL - 20 + _TEST, lambda *_: None)
    lines = (folder / "annotations" / "trainval.txt").read_text().splitlines()
    lists = {"trainval": lines[: _TRAIN + _VAL], "test": lines[_TRAIN + _VAL :]}
    here = Path("full")
    (here / "annotations").mkdir(parents=True, exist_ok=True)
    for name, some in lists.items():
        (here / "annotations" / f"{name}.txt").write_text("\n".join(some) + "\n")
    for part in ("images", "annotations/trimaps"):
        if not (here / part).exists():
            (here / part).symlink_to(folder / part)
    return here.absolute()


class Peak(threading.Thread):
    """Watches the memory of a program and all that it starts.

    Attributes:
        resident, anonymous: the most that any of its processes had, in MiB.
    """

    def __init__(self, pid: int) -> None:
        """Watch it, once started, until it ends."""
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self.resident = self.anonymous = 0.0

    def run(self) -> None:
        """Look ten times a second."""
        while True:
            try:
                if self._root.status() == psutil.STATUS_ZOMBIE:
                    return
                family = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            for process in family:
                try:
                    text = Path(f"/proc/{process.pid}/status").read_text()
                except OSError:
                    continue
                found = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+)", text, re.M))
                self.resident = max(self.resident, int(found.get("VmRSS", 0)) / 1024)
                self.anonymous = max(self.anonymous, int(found.get("RssAnon", 0)) / 1024)
            time.sleep(0.1)


def watched(program: Program, command: list[str], **extra: str) -> tuple[float, Peak, str]:
    """Run a command; return its seconds, its memory and what it printed."""
    started = time.perf_counter()
    process = program.start(*command, **extra)
    peak = Peak(process.pid)
    peak.start()
    out, err = process.communicate()
    if process.returncode:
        raise SystemExit(err)
    peak.join()
    return time.perf_counter() - started, peak, out


def main() -> None:
    """Print the figures."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    here = Path.cwd()
    folder = drawn()
    program = Program(here / "work", here / "cache")
    seconds, peak, out = watched(program, entry_command("prepare", data=folder))
    print(next(line for line in out.splitlines() if "7,349" in line or "7349" in line))
    print(f"prepare: {seconds:.0f} s, {peak.resident:.0f} MiB ({peak.anonymous:.0f} anonymous)")
    for images, processes in itertools.product(_COUNTS, (1, 2)):
        options = {"data": folder, "train_images": images, "val_images": _VAL, "epochs": epochs}
        command = entry_command("train", **options, resizing="fixed", processes=processes)
        seconds, peak, _ = watched(program, command)
        client = mlflow.MlflowClient(program.store)
        (run, *_) = client.search_runs(["0"])
        speeds = client.get_metric_history(run.info.run_id, "train/images_per_second")
        epoch = images / statistics.median(point.value for point in speeds)
        print(
            f"{images} images, {processes} processes: {epoch:.2f} s an epoch; the whole command "
            f"{seconds:.0f} s; at most {peak.resident:.0f} MiB a process "
            f"({peak.anonymous:.0f} anonymous)"
        )
    subprocess.run(["rm", "-r", str(here / "cache" / "decoded")], check=True)


if __name__ == "__main__":
    main()
