"""What tests of a search ask of both stores afterwards."""

from segmentation.tuning.storage import StudyLocation
from segmentation.tuning.study import Study, Trial
from tests.helpers.programs import TINY, Program

#: A search that takes seconds.
TINY_SEARCH = {
    **TINY,
    "width": "2..4:2",
    "trials": "4",
    "trial_epochs": "2",
    "confirm": "1",
    "workers": "2",
    "study": "small",
}


def trials_of(program: Program, part: str = "") -> list[Trial]:
    """Return the trials of a search in a working folder, or of its part `.confirmation`."""
    address = str(program.folder / "studies" / "small.db")
    return Study(StudyLocation(name=f"small{part}", address=address, heartbeat=10)).trials()


def assert_exact(program: Program, trials: int, confirmations: int) -> None:
    """Both stores agree, nothing is missing, doubled or left running."""
    ends = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "lost": ""}
    for part, stage, number in (
        ("", "search", trials),
        (".confirmation", "confirmation", confirmations),
    ):
        found = trials_of(program, part)
        assert sum(trial.counts for trial in found) == number
        assert {trial.state for trial in found} <= set(ends)
        runs = {run.info.run_id: run for run in program.runs(stage=stage)}
        assert all(run.info.status != "RUNNING" for run in runs.values())
        for trial in found:
            if trial.finished and "run" in trial.user_attrs:
                run = runs[trial.user_attrs["run"]]
                assert run.info.status == ends[trial.state]
                assert run.data.tags["trial"] == str(trial.number)
        pruned = [run for run in runs.values() if "pruned" in run.data.tags]
        assert len(pruned) == sum(trial.state == "pruned" for trial in found)
        assert all(" pruned 0." in str(run.info.run_name) for run in pruned)
        finished = sum(run.info.status == "FINISHED" for run in runs.values())
        assert finished == sum(ends[trial.state] == "FINISHED" for trial in found)
    (parent,) = program.runs(stage="parent")
    assert parent.info.status == "FINISHED"
    registered = [version.run_id for version in program.versions(purpose="trial")]
    complete = [t.user_attrs["run"] for t in trials_of(program) if t.state == "complete"]
    assert sorted(map(str, registered)) == sorted(complete)
    assert len(program.versions(purpose="winner")) == (1 if confirmations else 0)
