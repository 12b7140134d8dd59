"""Studies in this process: exact numbers of trials, whatever fails, is stopped, or is planned."""

import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from segmentation.errors import ConfigError, TrackingError, TrainingError, explain
from segmentation.tuning.storage import StudyLocation
from segmentation.tuning.study import TRIES, RunningTrial, Study, choose_pruner
from tests.helpers.claiming import SPACE, open_study


@pytest.fixture
def address(tmp_path: Path) -> str:
    return str(tmp_path / "studies" / "shared.db")


def value(trial: RunningTrial) -> float:
    return -abs(float(trial.params["lr"]) - 0.01)


def interrupt(trial: RunningTrial) -> float:
    raise KeyboardInterrupt


def run(study: Study, total: int) -> None:
    while study.run_next(total, value):
        pass


def states(study: Study) -> list[str]:
    return [trial.state for trial in study.trials()]


def test_the_same_seed_draws_the_same_trials_however_often_interrupted(tmp_path: Path) -> None:
    whole, parts = open_study(str(tmp_path / "a.db")), str(tmp_path / "b.db")
    run(whole, 13)
    for total in (3, 12, 13):
        run(open_study(parts), total)
    params = [trial.params for trial in whole.trials()]
    assert {one["width"] for one in params} <= {8, 16, 24, 32}
    assert all(1e-4 <= float(one["lr"]) <= 1e-1 for one in params)
    assert states(open_study(parts)) == ["complete"] * 13
    assert [trial.params for trial in open_study(parts).trials()] == params
    other = open_study(str(tmp_path / "c.db"), seed=1)
    run(other, 1)
    assert other.trials()[0].params != params[0]


def test_a_failed_trial_keeps_its_reason_counts_and_does_not_end_the_study(address: str) -> None:
    study = open_study(address)

    def fail(trial: RunningTrial) -> float:
        raise TrainingError("the loss became nan")

    trial = study.run_next(2, fail)
    assert trial is not None
    assert (trial.state, trial.counts) == ("failed", True)
    assert trial.user_attrs["failure"] == "the loss became nan"
    run(study, 2)
    assert states(study) == ["failed", "complete"]


def test_a_trial_behind_is_pruned_and_a_lost_one_does_not_compete_with_itself(address: str) -> None:
    location = StudyLocation(name="shared", address=address, heartbeat=10)
    study = Study(location, SPACE, 0, choose_pruner("halving", 8))
    levels = iter([0.9, 0.2, 0.9, 0.95, 0.15])

    def train(trial: RunningTrial) -> float | None:
        level = next(levels)
        for epoch in range(1, 9):
            trial.report(level + epoch / 1000, epoch)
            if trial.should_prune():
                return None
        if trial.number == 0:  # it is stopped when another was pruned for it
            study.run_next(4, train)
            interrupt(trial)
        return level

    with pytest.raises(KeyboardInterrupt):
        study.run_next(4, train)
    while study.run_next(4, train):
        pass
    assert states(study) == ["lost", "pruned", "complete", "complete", "pruned"]
    assert [trial.reports for trial in study.trials()] == [8, 2, 8, 8, 2]
    assert study.trials()[1].value == pytest.approx(0.202)


def test_a_stopped_trial_is_tried_again_however_often(address: str) -> None:
    study = open_study(address)
    for _ in range(TRIES + 1):
        with pytest.raises(KeyboardInterrupt):
            study.run_next(2, interrupt)
    run(study, 2)
    trials = open_study(address).trials()
    assert [trial.state for trial in trials] == ["lost"] * (TRIES + 1) + ["complete"] * 2
    assert len({str(trial.params) for trial in trials}) == 2
    assert [trial.number for trial in trials if trial.counts] == [TRIES + 1, TRIES + 2]


@pytest.mark.parametrize("reports", [True, False])
def test_a_trial_that_others_have_taken_over_does_not_count(address: str, reports: bool) -> None:
    """Its machine was away for too long: it counts as lost, and its parameters are another's."""

    def vanish(trial: RunningTrial) -> float:
        open_study(address).optuna.tell(trial.number, state=TrialState.FAIL)
        if reports:
            trial.report(0.9, 1)
        return 1.0

    study = open_study(address)
    for _ in range(TRIES):
        assert study.run_next(1, vanish) is not None
    assert study.run_next(1, value) is None
    trials = study.trials()
    assert [trial.state for trial in trials] == ["lost"] * (TRIES - 1) + ["failed"]
    assert all(trial.params == trials[0].params for trial in trials)
    assert f"vanished {TRIES} times" in trials[-1].user_attrs["failure"]


def test_other_settings_under_a_studys_name_are_refused_by_name(address: str) -> None:
    open_study(address).require_settings({"width": "8..32:8", "seed": 0})
    open_study(address).require_settings({"width": "8..32:8", "seed": 0})
    with pytest.raises(ConfigError) as refused:
        open_study(address).require_settings({"width": "8..64:8", "seed": 0, "ema": 0.9})
    assert "width=8..64:8 (there it is 8..32:8)" in str(refused.value)
    assert "ema=0.9 (there it is None)" in str(refused.value)
    assert "seed" not in str(refused.value)


def test_a_storage_that_cannot_be_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrackingError, match=r"me@127.0.0.1:9/x cannot be used"):
        open_study("postgresql://me@127.0.0.1:9/x")
    (tmp_path / "s.db").write_text("not a database\n" * 100)
    with pytest.raises(TrackingError, match=r"s.db cannot be used \(.*not a database"):
        open_study(str(tmp_path / "s.db"))
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    with pytest.raises(ModuleNotFoundError) as caught:
        open_study("postgresql://me@127.0.0.1:9/y")
    assert "pip install '.[postgres]'" in str(explain(caught.value))


def test_a_defect_in_a_trial_is_not_hidden(address: str) -> None:
    def defect(trial: RunningTrial) -> float:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        open_study(address).run_next(1, defect)


def test_what_is_enqueued_runs_once_each_in_its_order_beside_the_search(address: str) -> None:
    search = open_study(address)
    study, labels = search.confirmations, []
    wanted = [({"candidate": 1, "seed": 10**9 + k}, {"label": str(k)}) for k in (1, 2, 3)]
    for _ in range(2):  # enqueueing again adds nothing
        study.enqueue(wanted)  # type: ignore[arg-type]

    def take(trial: RunningTrial) -> float:
        labels.append(trial.user_attrs["plan"]["label"])
        if len(labels) == 1:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        study.run_next(3, take)
    while study.run_next(3, take):
        pass
    assert labels == ["1", "2", "3", "1"]
    complete = [trial.params for trial in study.trials() if trial.state == "complete"]
    assert complete == [wanted[1][0], wanted[2][0], wanted[0][0]]
    assert search.trials() == []
