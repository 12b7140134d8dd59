"""What a tracking server that is away for a while does to a training: points lost, step time.

python docs/measurements/outage.py [SECONDS]      in an empty folder

A real `mlflow server` on loopback; the same training of the built-in sample with and without the
outage, in turns.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import mlflow

from tests.helpers.programs import Program, entry_command, read_until
from tests.helpers.stopped import tracking_server

#: Some 100 s on two cores, at one size, so that epochs can be compared.
_TRAINING = {"epochs": "170", "resizing": "fixed", "data": "synthetic"}
_NAMES = ("train/loss", "train/images_per_second", "val/loss", "val/dice", "val/accuracy")
_PAIRS = 3


def train(folder: Path, away: float) -> tuple[dict[int, float], set[int], int, int]:
    """Train; return images/s by epoch, the epochs of the outage, points that are missing, twice."""
    program = Program(folder, folder / "cache")
    with tracking_server(folder / "server") as server:
        process = program.start(
            *entry_command("train", **_TRAINING), MLFLOW_TRACKING_URI=server.uri
        )
        read_until(process, "Epoch 17/")
        since = until = time.time()
        if away:
            server.stop()
            time.sleep(away)
            until = time.time()
            server.start()
        _, err = process.communicate()
        if process.returncode:
            raise SystemExit(err)
        client = mlflow.MlflowClient(server.uri)
        (run,) = client.search_runs(["0"])
        histories = [client.get_metric_history(run.info.run_id, name) for name in _NAMES]
    expected = set(range(1, int(_TRAINING["epochs"]) + 1))
    missing = sum(len(expected - {point.step for point in points}) for points in histories)
    twice = sum(len(points) - len({point.step for point in points}) for points in histories)
    speeds = {point.step: point.value for point in histories[1]}
    during = {p.step for p in histories[1] if since * 1000 < p.timestamp < until * 1000}
    return speeds, during, missing, twice


def main() -> None:
    """Print the figures."""
    away = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    here = Path.cwd()
    subprocess.run(
        [sys.executable, "-c", "import segmentation.workflows.session"], check=True
    )  # warm files
    ratios, lost, doubled, compared = [], 0, 0, 0
    for pair in range(_PAIRS):
        whole, _, _, _ = train(here / f"{pair}-whole", 0)
        cut, during, missing, twice = train(here / f"{pair}-cut", away)
        lost, doubled, compared = lost + missing, doubled + twice, compared + len(during)
        ratios.append(
            statistics.median(cut[epoch] for epoch in during)
            / statistics.median(whole[epoch] for epoch in during)
        )
        print(f"pair {pair}: images/s during the outage over those without: {ratios[-1]:.3f}")
    print(
        f"{away:.0f} s without the server, {_PAIRS} times: {lost} points lost, {doubled} twice; "
        f"images/s {statistics.median(ratios):.3f} of those without an outage "
        f"({min(ratios):.3f} to {max(ratios):.3f}), over {compared} epochs"
    )


if __name__ == "__main__":
    main()
