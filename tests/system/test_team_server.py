"""A team's server, by its recipe: nothing without a password; with one everything."""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from tests.helpers.programs import TINY, Program, documented, good
from tests.helpers.stopped import SHORT, interrupt
from tests.helpers.studies import TINY_SEARCH
from tests.helpers.team import Team, team_server

pytestmark = pytest.mark.slow

NAME, PASSWORD = "ada", "a password of some length"


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    with team_server(folder) as one:
        code = documented("team-server.md", "create_user").replace("http://127.0.0.1:5000", one.uri)
        code = code.replace("at least twelve characters", PASSWORD)
        admin = Program(folder, folder / "cache")
        good(admin.run(sys.executable, "-c", code, **one.variables()))
        yield one


def test_who_has_no_password_is_told_in_one_line(program: Program, pets: Path, team: Team) -> None:
    told = program.refused(1, "train", MLFLOW_TRACKING_URI=team.uri, **TINY, data=pets)
    assert told.count("Error:") == 1
    assert "401" in told or "not authenticated" in told
    with pytest.raises(MlflowException):
        mlflow.MlflowClient(team.uri).search_experiments()


def test_who_may_not_delete_trains_searches_and_loads_what_others_have_trained(
    program: Program, pets: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that was stopped has sent its checkpoint, and would take it away in the end."""
    own = team.variables(NAME, PASSWORD)
    kept = program.cache / "runs" / "*" / "checkpoint"
    stopped = interrupt(program, "train", kept, **SHORT, data=pets, **own)
    (run_id,) = re.findall(r"resume=(\w+)", stopped.stdout)
    done = good(program.entry("train", **own, resume=run_id))
    assert "Note: the run's artifacts still hold the last checkpoint (" in done.stdout
    assert done.stderr == ""
    good(program.entry("tune", **own, **TINY_SEARCH, storage=team.studies, data=pets))
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    client = mlflow.MlflowClient(team.uri)
    runs = client.search_runs(["0"], max_results=100)
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    assert all(str(run.info.artifact_uri).startswith("mlflow-artifacts:") for run in runs)
    assert any(team.artifacts.rglob("*.pt2"))
    # From another folder, where nothing of that training lies.
    load = "import mlflow; mlflow.pytorch.load_model('models:/pet-unet/1')"
    elsewhere = Program(program.folder.parent / "elsewhere", program.cache)
    good(elsewhere.run(sys.executable, "-c", load, **own))


def test_a_model_moves_there_from_a_store_of_ones_own(
    home: Program, discs: Path, team: Team, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = documented("team-server.md", "OLD, NEW").replace("http://127.0.0.1:5000", team.uri)
    code = code.replace("sqlite:////path/to/mlflow.db", home.store)
    for name, value in team.variables(NAME, PASSWORD).items():
        monkeypatch.setenv(name, value)
    asked = "\nmlflow.pytorch.load_model(f'models:/pet-unet/{moved.version}')\nprint(moved.version)"
    own = team.variables(NAME, PASSWORD)
    done = good(home.run(sys.executable, "-c", code + asked, **own))
    version = done.stdout.split()[-1]
    model = f"models:/pet-unet/{version}"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    good(home.entry("promote", **own, model=model, data=discs))
    good(home.entry("evaluate", **own, model=model, data=discs, split="gate"))
    assert not [*tmp_path.glob("*/MLmodel"), *tmp_path.glob("petseg-*")]  # of what was sent
    found = mlflow.MlflowClient(team.uri).get_model_version("pet-unet", version)
    run = mlflow.MlflowClient(team.uri).get_run(str(found.run_id))
    assert home.store in run.data.tags["mlflow.note.content"]
