"""One study for several machines: real PostgreSQL, real processes, one of them killed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from segmentation.tuning.storage import StudyLocation
from segmentation.tuning.study import Study
from tests.helpers import postgres
from tests.helpers.claiming import claiming, open_study
from tests.helpers.hosts import hosts
from tests.helpers.programs import (
    Program,
    entry_command,
    good,
    read_until,
    wait_until,
    wait_until_gone,
)
from tests.helpers.servers import TrackingServer
from tests.helpers.studies import TINY_SEARCH, Searched, assert_exact, assert_retried, kill_some

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres.running() as address:
        yield address


def test_processes_that_make_the_tables_at_once_and_are_killed_leave_the_exact_number(
    program: Program, server: str
) -> None:
    total = 16
    kill_some(program, claiming(server, total), 4, 3, (2.5, 4))
    trials = open_study(server).trials()
    assert sum(trial.state == "complete" for trial in trials) == total
    assert {trial.state for trial in trials} <= {"complete", "lost"}
    assert len({str(trial.params) for trial in trials if trial.counts}) == total
    assert_retried(trials)


def test_recover_gives_back_what_a_dead_process_held_and_nothing_else(
    program: Program, server: str
) -> None:
    study = open_study(server, name="held")
    study.require_settings({"heartbeat": 1})
    dead, alive = (program.start(*claiming(server, 2, 600, name="held")) for _ in range(2))
    try:
        wait_until(lambda: sum(trial.state == "running" for trial in study.trials()) == 2)
        dead.kill()
        dead.communicate()
        recovered = entry_command("recover", storage=server, study="held")
        told = "held: 0 trials were lost"
        while "held: 0 trials were lost" in told:  # until six heartbeats are missing
            told = good(program.run(*recovered)).stdout
        assert "Study:  held: 1 trials were lost, to be tried again; 1 alive" in told
        assert sorted(t.state for t in study.trials()) == ["lost", "running", "waiting"]
        assert alive.poll() is None
    finally:
        for process in (dead, alive):
            process.kill()
            process.communicate()
    typo = program.run(*entry_command("recover", storage=server, study="helt"))
    assert typo.returncode == 2
    assert f"study=helt: there is no such study in {server}" in typo.stderr
    assert Study.find(StudyLocation(name="helt", address=server, heartbeat=1)) is None


def test_three_machines_share_a_study_and_one_is_killed(
    program: Program, pets: Path, tmp_path: Path
) -> None:
    """Each with a network and a cache of its own, on one study and one tracking server."""
    with contextlib.ExitStack() as running:
        made = running.enter_context(hosts(3))
        outside = made[0].outside
        address = running.enter_context(postgres.running(outside))
        store = running.enter_context(TrackingServer(tmp_path / "server", outside)).uri
        options = {**TINY_SEARCH, "trials": "9", "heartbeat": "1", "workers": "1"}
        command = entry_command("tune", **options, storage=address, data=pets)
        processes = []
        for host in made:
            own = {"PETSEG_CACHE": str(tmp_path / host.name), "MLFLOW_TRACKING_URI": store}
            processes.append(program.start(*host.command(*command), **own))
            running.callback(processes[-1].kill)
        victim = processes.pop()
        read_until(victim, "Trial ")
        family = [psutil.Process(victim.pid), *psutil.Process(victim.pid).children(recursive=True)]
        for process in family:
            process.kill()
        victim.communicate()
        wait_until_gone(family)
        for survivor in processes:
            _, err = survivor.communicate(timeout=600)
            assert survivor.returncode == 0, err
        searched = Searched(program, address=address, store=store)
        assert_exact(searched, trials=9, confirmations=4)
