"""How long the pages of a team's server take when it holds many runs with many points.

    python -m docs.benchmarks.team [RUNS] [EPOCHS]

from the repository's root, 100 and 100 unless given. PostgreSQL and `mlflow server` as
docs/team-server.md says, on loopback; real client calls, a batch for ten epochs, as a training
sends what has gathered; then what a user opens, in Debian's Chromium, and what programs ask.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
from mlflow.entities import Metric, Param, RunTag
from playwright.sync_api import HttpCredentials, expect

from segmentation.utils.environment import environment
from segmentation.workflows import benchmark
from segmentation.workflows.benchmark import Rounds, interleaved, text
from tests.helpers.team import ADMIN, Team, team_server
from tests.helpers.ui import browsing

_NAMES = ("train/loss", "train/lr", "val/loss", "val/dice", "val/iou", "val/accuracy")
_ROUNDS = 5
_GATHERED = 10  # epochs


def fill(client: mlflow.MlflowClient, runs: int, epochs: int) -> list[str]:
    """Log runs as trainings do: parameters and tags once, a batch of figures now and then."""
    generator, ids = np.random.default_rng(0), []
    for number in range(runs):
        run = client.create_run("0", run_name=f"w16 seed{number}").info.run_id
        params = [Param(f"training.p{i}", str(number)) for i in range(20)]
        client.log_batch(run, params=params, tags=[RunTag("kind", "filled")])
        for first in range(1, epochs + 1, _GATHERED):
            now = int(time.time() * 1000)
            batch = [
                Metric(name, float(generator.random()), now, epoch)
                for epoch in range(first, min(first + _GATHERED, epochs + 1))
                for name in _NAMES
            ]
            client.log_batch(run, metrics=batch)
        client.set_terminated(run)
        ids.append(run)
    return ids


def seconds(work: Callable[[], object]) -> Rounds:
    """Measure some calls after a first one."""
    return interleaved({"": lambda: benchmark.seconds(work)}, _ROUNDS)[""]


def pages(team: Team, ids: list[str]) -> dict[str, Rounds]:
    """Open what a user opens, each in a new tab, until it shows what it is for."""
    found = {}
    credentials: HttpCredentials = {"username": ADMIN, "password": team.password}
    with browsing() as browser:
        context = browser.new_context(
            viewport={"width": 2000, "height": 1400}, http_credentials=credentials
        )
        context.set_default_timeout(120_000)
        chosen = "%2C".join(f"%22{one}%22" for one in ids[:10])
        for name, path, shows in (
            ("the table of runs", "/experiments/0/runs?workflowType=machine_learning", "w16 seed"),
            ("charts of the runs", "/experiments/0/runs?compareRunsMode=CHART", "val/dice"),
            ("one run", f"/experiments/0/runs/{ids[0]}", "val/dice"),
            ("ten runs compared", f"/compare-runs?runs=[{chosen}]&experiments=[%220%22]", "w16"),
        ):

            def opened(path: str = path, shows: str = shows) -> None:
                page = context.new_page()
                page.goto(f"{team.uri}/#{path}")
                expect(page.get_by_text(shows).first).to_be_visible()
                page.close()

            found[f"page: {name}"] = seconds(opened)
        context.close()
    return found


def main() -> None:
    runs, epochs = (int(word) for word in (sys.argv[1:] + ["100", "100"][len(sys.argv) - 1 :]))
    with (
        tempfile.TemporaryDirectory() as name,
        team_server(Path(name)) as team,
        environment(team.variables()),
    ):
        client = mlflow.MlflowClient(team.uri)
        started = time.perf_counter()
        ids = fill(client, runs, epochs)
        took = time.perf_counter() - started
        calls = runs * (3 + -(-epochs // _GATHERED))
        print(f"{runs} runs of {epochs} epochs: {took:.0f} s, {1000 * took / calls:.1f} ms a call")
        found = {
            "search: all runs by a figure": seconds(
                lambda: client.search_runs(["0"], "metrics.`val/dice` > 0.5", max_results=1000)
            ),
            "search: the best of all": seconds(
                lambda: client.search_runs(
                    ["0"], order_by=["metrics.`val/dice` DESC"], max_results=1
                )
            ),
            "history of one figure": seconds(lambda: client.get_metric_history(ids[0], "val/dice")),
            **pages(team, ids),
        }
    for name, times in found.items():
        print(f"{name}: {text(times, '.2f')} s")


if __name__ == "__main__":
    main()
