"""A process that works on a study as a worker does, with trials that only sleep.

python -m tests.helpers.claiming ADDRESS HEARTBEAT TOTAL SECONDS [NAME]
"""

import sys
import time

from optuna.distributions import FloatDistribution, IntDistribution

from segmentation.tuning.space import Space
from segmentation.tuning.storage import StudyLocation
from segmentation.tuning.study import RunningTrial, Study

_LR = FloatDistribution(1e-4, 1e-1, log=True)
SPACE: Space = {"width": IntDistribution(8, 32, step=8), "lr": _LR}


def open_study(address: str, heartbeat: int = 1, seed: int = 0, name: str = "shared") -> Study:
    location = StudyLocation(name=name, address=address, heartbeat=heartbeat)
    return Study(location, SPACE, seed)


def claiming(
    address: str, total: int, seconds: float = 0.4, heartbeat: int = 1, name: str = "shared"
) -> list[str]:
    options = [address, heartbeat, total, seconds, name]
    return [sys.executable, "-m", "tests.helpers.claiming", *map(str, options)]


def main() -> None:
    """Run trials until there are enough; print the number of each."""
    address, heartbeat, total, seconds, *name = sys.argv[1:]
    study = open_study(address, int(heartbeat), 0, *name)

    def run(trial: RunningTrial) -> float:
        time.sleep(float(seconds))
        return -abs(float(trial.params["lr"]) - 0.01)

    while True:
        if (trial := study.run_next(int(total), run)) is not None:
            print(trial.number, trial.state, flush=True)
        elif any(trial.state == "running" for trial in study.trials()):
            time.sleep(0.1)
        else:
            break


if __name__ == "__main__":
    main()
