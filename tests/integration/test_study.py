"""Studies: exact numbers of trials, whatever is killed; real journals, real processes."""

import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmentation.config.search import SearchConfig
from segmentation.errors import ConfigError, TrackingError
from segmentation.tuning.pruners import choose_pruner
from segmentation.tuning.storage import StudyLocation, WorkerLock
from segmentation.tuning.study import TRIES, Failed, Pruned, RunningTrial, Study
from tests.helpers.claiming import SPACE, open_study
from tests.helpers.programs import Program


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "studies" / "shared.journal")


def value(attempt: RunningTrial) -> float:
    return -abs(float(attempt.params["lr"]) - 0.01)


def run(study: Study, total: int) -> None:
    presence = WorkerLock(study.place)
    while study.run_next(total, presence, value):
        pass
    presence.close()


def test_the_number_of_trials_is_the_number_in_all(journal: str) -> None:
    run(open_study(journal), 4)
    run(open_study(journal), 4)
    assert [trial.state for trial in open_study(journal).trials()] == ["complete"] * 4
    run(open_study(journal), 6)
    trials = open_study(journal).trials()
    assert [trial.state for trial in trials] == ["complete"] * 6
    assert {trial.params["width"] for trial in trials} <= {8, 16, 24, 32}
    assert all(1e-4 <= float(trial.params["lr"]) <= 1e-1 for trial in trials)


def test_the_same_seed_draws_the_same_trials_however_often_it_was_interrupted(
    tmp_path: Path,
) -> None:
    whole, parts = open_study(str(tmp_path / "a")), str(tmp_path / "b")
    run(whole, 14)
    for total in (3, 12, 14):
        run(open_study(parts), total)
    params = [trial.params for trial in whole.trials()]
    assert [trial.params for trial in open_study(parts).trials()] == params
    other = open_study(str(tmp_path / "c"), seed=1)
    run(other, 1)
    assert other.trials()[0].params != params[0]


def test_a_failed_trial_keeps_its_reason_counts_and_does_not_end_the_study(journal: str) -> None:
    study, presence = open_study(journal), WorkerLock(open_study(journal).place)

    def fail(attempt: RunningTrial) -> float:
        raise Failed("the loss became nan")

    trial = study.run_next(3, presence, fail)
    assert trial is not None
    assert (trial.state, trial.counts) == ("failed", True)
    assert trial.user_attrs["failure"] == "the loss became nan"
    run(study, 3)
    assert [trial.state for trial in study.trials()] == ["failed", "complete", "complete"]


def test_a_pruned_trial_keeps_what_it_reported(journal: str) -> None:
    place = StudyLocation(name="shared", address=journal, heartbeat=10)
    study = Study(place, SPACE, 0, choose_pruner("halving", 8))
    presence = WorkerLock(place)
    levels = iter([0.8, 0.2, 0.9, 0.1])

    def train(attempt: RunningTrial) -> float:
        level = next(levels)
        for epoch in range(1, 9):
            if attempt.report(epoch, level + epoch / 1000):
                raise Pruned("others did better")
        return level

    while study.run_next(4, presence, train):
        pass
    trials = study.trials()
    assert [trial.state for trial in trials] == ["complete", "pruned", "complete", "pruned"]
    assert [trial.reports for trial in trials] == [8, 2, 8, 2]
    assert trials[1].value == pytest.approx(0.202)


def test_an_interrupted_trial_is_tried_again_with_its_parameters(journal: str) -> None:
    study = open_study(journal)

    def interrupt(attempt: RunningTrial) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run_next(2, WorkerLock(study.place), interrupt)
    run(study, 2)
    trials = open_study(journal).trials()
    assert [trial.state for trial in trials] == ["lost", "complete", "complete"]
    assert trials[1].params == trials[0].params
    assert trials[2].params != trials[0].params
    assert [trial.number for trial in trials if trial.counts] == [1, 2]


def test_parameters_that_kill_every_process_are_given_up_in_the_end(
    program: Program, journal: str
) -> None:
    deadly = [*claiming(program, journal, 1)[:-1], "die"]
    for _ in range(TRIES):
        assert program.run(*deadly).returncode == -signal.SIGKILL
    study = open_study(journal)
    assert study.run_next(1, WorkerLock(study.place), value) is None
    trials = study.trials()
    assert [trial.state for trial in trials] == ["lost"] * (TRIES - 1) + ["failed"]
    assert f"vanished {TRIES} times" in trials[-1].user_attrs["failure"]
    assert all(trial.params == trials[0].params for trial in trials)


def test_being_stopped_often_is_not_held_against_a_trial(journal: str) -> None:
    study = open_study(journal)

    def stop(attempt: RunningTrial) -> float:
        raise KeyboardInterrupt

    for _ in range(TRIES + 2):
        with pytest.raises(KeyboardInterrupt):
            study.run_next(1, WorkerLock(study.place), stop)
    run(study, 1)
    trials = study.trials()
    assert [trial.state for trial in trials] == ["lost"] * (TRIES + 2) + ["complete"]
    assert trials[-1].params == trials[0].params


def test_what_was_planned_is_tried_again_though_it_was_not_drawn_yet(journal: str) -> None:
    """A process may be killed between drawing one parameter and the next."""
    study = open_study(journal)
    with study.locked():
        study.enqueue([({"width": 16, "lr": 0.02}, {})])
    study.optuna.ask().suggest_int("width", 8, 32, step=8)  # and no further
    run(study, 1)
    assert [(t.state, t.params) for t in open_study(journal).trials()] == [
        ("lost", {"width": 16, "lr": 0.02}),
        ("complete", {"width": 16, "lr": 0.02}),
    ]


def test_other_settings_under_a_studys_name_are_refused_by_name(journal: str) -> None:
    open_study(journal).require_settings({"width": "8..32:8", "seed": 0})
    open_study(journal).require_settings({"width": "8..32:8", "seed": 0})
    with pytest.raises(ConfigError) as refused:
        open_study(journal).require_settings({"width": "8..64:8", "seed": 0, "ema": 0.9})
    assert "width=8..64:8 (there it is 8..32:8)" in str(refused.value)
    assert "ema=0.9 (there it is None)" in str(refused.value)
    assert "seed" not in str(refused.value)


def test_planned_trials_run_once_each_in_their_order(journal: str) -> None:
    study = open_study(journal)
    wanted = [({"width": 8 * k, "lr": 1e-3 * k}, {"label": str(k)}) for k in (1, 2, 3)]
    for _ in range(2):  # planning again adds nothing
        with study.locked():
            study.enqueue(wanted)  # type: ignore[arg-type]
    labels = []

    def take(attempt: RunningTrial) -> float:
        labels.append(attempt.enqueue()["label"])
        if len(labels) == 1:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        study.run_next(3, WorkerLock(study.place), take)
    presence = WorkerLock(study.place)
    while study.run_next(3, presence, take):
        pass
    assert sorted(labels) == ["1", "1", "2", "3"]
    assert [t.params for t in study.trials() if t.state == "complete"] == [
        wanted[1][0],
        wanted[2][0],
        wanted[0][0],
    ]


def test_a_torn_last_line_of_the_journal_is_dropped(journal: str) -> None:
    run(open_study(journal), 2)
    with Path(journal).open("ab") as file:
        file.write(b'{"op_code": 5, "wor')
    run(open_study(journal), 3)
    assert [trial.state for trial in open_study(journal).trials()] == ["complete"] * 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"study": "../up"}, "study=../up: expected up to 100 letters"),
        ({"study": ""}, "study=: expected"),
        ({"study": "a.confirmation"}, "no '.confirmation' at its end"),
        ({"storage": "mysql://a@b/c"}, "storage=mysql://a@b/c: expected postgresql://"),
        ({"storage": ""}, "storage=: expected"),
        ({"storage": "postgresql://a@b:port/c"}, "storage: expected postgresql://"),
        ({"storage": "postgresql://a@b"}, "storage=postgresql://a@b: expected"),
        ({"storage": "postgresql://a:secret@b/c"}, "holds a password"),
        ({"storage": "postgresql://a@b/c?password=secret"}, "holds a password"),
        ({"timeout": "1 day"}, "timeout=1 day: expected such as 90s"),
        ({"trials": 0}, "trials=0: expected a whole number, at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        SearchConfig(**changes)
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_storage_that_does_not_answer_or_is_damaged_is_told(tmp_path: Path) -> None:
    address = "postgresql://me@127.0.0.1:9/x"
    with pytest.raises(TrackingError, match=r"me@127.0.0.1:9/x cannot be used"):
        Study(StudyLocation(name="s", address=address, heartbeat=10), SPACE, 0, None)
    journal = tmp_path / "s.journal"
    journal.write_text("not a journal\nat all\n")
    with pytest.raises(TrackingError, match=r"s.journal is damaged"):
        open_study(str(journal))


def claiming(program: Program, address: str, total: int, heartbeat: int = 10) -> list[str]:
    return [
        sys.executable,
        "-m",
        "tests.helpers.claiming",
        address,
        str(heartbeat),
        str(total),
        "0.4",
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_processes_killed_at_random_leave_the_exact_number_of_trials(
    program: Program, journal: str, seed: int
) -> None:
    total, kills, generator = 20, 5, np.random.default_rng(seed)
    command = claiming(program, journal, total)
    open_study(journal)
    processes = [program.start(*command) for _ in range(3)]
    try:
        for _ in range(kills):
            time.sleep(generator.uniform(0.2, 1.2))
            victim = processes.pop(int(generator.integers(len(processes))))
            victim.kill()
            victim.communicate()
            processes.append(program.start(*command))
        for process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
    finally:
        for process in processes:
            process.kill()
    trials = open_study(journal).trials()
    # Parameters whose process was killed each time that they were tried count as failed.
    failed = [trial for trial in trials if trial.state == "failed"]
    assert sum(trial.state == "complete" for trial in trials) + len(failed) == total
    assert all(trial.user_attrs["tries"] == TRIES for trial in failed)
    assert len(failed) * TRIES <= kills
    assert {trial.state for trial in trials} <= {"complete", "lost", "failed"}
    retried = {
        trial.user_attrs["retry_of"]: trial for trial in trials if "retry_of" in trial.user_attrs
    }
    for trial in trials:
        if trial.state == "lost":
            assert retried[trial.number].params.items() >= trial.params.items()
    assert len(retried) == sum(trial.state == "lost" for trial in trials)
    with (study := open_study(journal)).locked():
        study.requeue_lost_trials()
    assert not list(Path(f"{journal}.alive").iterdir())  # nothing is left behind


def test_what_lives_is_not_taken_for_dead(program: Program, journal: str) -> None:
    study = open_study(journal)
    process = program.start(*claiming(program, journal, 1)[:-1], "600")
    try:
        while not any(trial.state == "running" for trial in study.trials()):
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGSTOP)  # slow, but alive
        with study.locked():
            study.requeue_lost_trials()
        assert [trial.state for trial in study.trials()] == ["running"]
        assert study.run_next(1, WorkerLock(study.place), value) is None
    finally:
        process.kill()
        process.communicate()
    run(study, 1)
    assert [trial.state for trial in study.trials()] == ["lost", "complete"]
