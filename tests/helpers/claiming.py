"""A process that works on a study as a worker does, with trials that only sleep.

python -m tests.helpers.claiming ADDRESS HEARTBEAT TOTAL SECONDS [NAME]

`die` in place of SECONDS ends it at once.
"""

import os
import signal
import sys
import time

from segmentation.tuning.space import Range, Space
from segmentation.tuning.storage import StudyLocation, WorkerLock
from segmentation.tuning.study import RunningTrial, Study

SPACE: Space = {
    "width": Range(low=8, high=32, step=8, log=False),
    "lr": Range(low=1e-4, high=1e-1, step=None, log=True),
}


def open_study(address: str, heartbeat: int = 10, seed: int = 0, name: str = "shared") -> Study:
    """Open the study that these processes share."""
    return Study(StudyLocation(name=name, address=address, heartbeat=heartbeat), SPACE, seed, None)


def main() -> None:
    """Run trials until there are enough; print the number of each."""
    address, heartbeat, total, seconds, *name = sys.argv[1:]
    study = open_study(address, int(heartbeat), 0, *name)
    presence = WorkerLock(study.place)

    def run(attempt: RunningTrial) -> float:
        if seconds == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(seconds))
        return -abs(float(attempt.params["lr"]) - 0.01)

    while True:
        trial = study.run_next(int(total), presence, run)
        if trial is not None:
            print(trial.number, trial.state, flush=True)
            continue
        with study.locked():
            study.requeue_lost_trials()
            if not any(trial.state == "running" for trial in study.trials()):
                break
        time.sleep(0.1)
    presence.close()


if __name__ == "__main__":
    main()
