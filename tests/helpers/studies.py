"""What tests of a search ask of both stores afterwards."""

import dataclasses
from typing import Any

import mlflow
from mlflow.entities import Run

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


@dataclasses.dataclass
class Searched:
    """A study and its runs, both in the working folder of a program."""

    program: Program

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.program.store)

    def trials(self, part: str = "") -> list[Trial]:
        """Return the trials of the search, or of the part `.confirmation`."""
        address = str(self.program.folder / "studies" / "small.db")
        location = StudyLocation(name=f"small{part}", address=address, heartbeat=10)
        return Study(location).trials()

    def runs(self, **tags: str) -> list[Run]:
        wanted = " and ".join(f"tags.{name} = '{value}'" for name, value in tags.items())
        return self.client.search_runs(["0"], wanted, order_by=["attributes.start_time ASC"])

    def parent(self) -> Run:
        (parent,) = self.runs(stage="parent")
        return parent

    def artifact(self, run: Run, path: str) -> str:
        return str(self.client.download_artifacts(run.info.run_id, path))

    def versions(self, **tags: str) -> list[Any]:
        found = self.client.search_model_versions("name='pet-unet'")
        return [v for v in found if all(v.tags.get(n) == value for n, value in tags.items())]


def assert_exact(searched: Searched, trials: int, confirmations: int) -> None:
    """Both stores agree, nothing is missing, doubled or left running."""
    for part, stage, number in (
        ("", "search", trials),
        (".confirmation", "confirmation", confirmations),
    ):
        found = searched.trials(part)
        assert sum(trial.counts for trial in found) == number
        assert all(trial.state in ("complete", "pruned", "failed", "lost") for trial in found)
        runs = {run.info.run_id: run for run in searched.runs(stage=stage)}
        assert all(run.info.status != "RUNNING" for run in runs.values())
        ends = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED"}
        for trial in found:
            if trial.finished and "run" in trial.user_attrs:
                run = runs[trial.user_attrs["run"]]
                assert run.info.status == ends[trial.state]
                assert run.data.tags["trial"] == str(trial.number)
        pruned = [run for run in runs.values() if "pruned" in run.data.tags]
        assert len(pruned) == sum(trial.state == "pruned" for trial in found)
        assert all(" pruned 0." in str(run.info.run_name) for run in pruned)
        finished = [run for run in runs.values() if run.info.status == "FINISHED"]
        ended_well = ("complete", "pruned")
        assert len(finished) == sum(trial.state in ended_well for trial in found)
    assert searched.parent().info.status == "FINISHED"
    registered = [version.run_id for version in searched.versions(purpose="trial")]
    complete = [t.user_attrs["run"] for t in searched.trials() if t.state == "complete"]
    assert sorted(registered) == sorted(complete)
    assert len(searched.versions(purpose="winner")) == (1 if confirmations else 0)
