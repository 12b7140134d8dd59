"""A team's server, by its recipe: nothing without a password; with one everything."""

import contextlib
import dataclasses
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import psycopg
import pytest
from mlflow.exceptions import MlflowException

from tests.helpers import postgres
from tests.helpers.programs import DOCS, TINY, Program, documented, good
from tests.helpers.servers import ServerProcess, free_port
from tests.helpers.stopped import OFTEN, SHORT, interrupt
from tests.helpers.studies import TINY_SEARCH

pytestmark = pytest.mark.slow

NAME, PASSWORD = "ada", "a password of some length"


@dataclasses.dataclass(frozen=True)
class Team:
    """A server that is up.

    Attributes:
        uri: its address.
        password: of its first user, `admin`.
        studies: the address of a database for studies, as the recipe has it.
        secret: the password of PostgreSQL.
        artifacts: where it keeps them.
    """

    uri: str
    password: str
    studies: str
    secret: str
    artifacts: Path

    def variables(self, name: str = "admin", password: str = "") -> dict[str, str]:
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_TRACKING_USERNAME": name,
            "MLFLOW_TRACKING_PASSWORD": password or self.password,
            "PGPASSWORD": self.secret,
        }


@contextlib.contextmanager
def team_server(folder: Path) -> Iterator[Team]:
    """Start PostgreSQL and the server; yield it; end both."""
    folder.mkdir(parents=True, exist_ok=True)
    password, secret, port = secrets.token_urlsafe(12), secrets.token_hex(12), free_port()
    with postgres.running(password=secret) as address:
        with psycopg.connect(address, password=secret, autocommit=True) as database:
            for name in ("mlflow", "mlflow_auth", "studies"):
                database.execute(f"CREATE DATABASE {name}")
        place = urlsplit(address).netloc.rpartition("@")[2]
        with_password = {"127.0.0.1/": f"{place}/", "PASSWORD": secret}
        (folder / "auth.ini").write_text(_of_recipe("```ini\n", "```", with_password))
        store = _of_recipe("MLFLOW_BACKEND_STORE_URI=", " ", with_password)
        studies = _of_recipe("-P storage=", " ", {"127.0.0.1/": f"{place}/"})
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
        command += ["--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")]
        environment = {
            **{name: value for name, value in os.environ.items() if "MLFLOW" not in name},
            "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_BACKEND_STORE_URI": store,
        }
        with ServerProcess(command, folder, environment, port):
            uri = f"http://127.0.0.1:{port}"
            yield Team(uri, password, studies, secret, folder / "artifacts")


def _of_recipe(before: str, after: str, instead: dict[str, str]) -> str:
    """Return what stands in the recipe between two texts, with something else in some places."""
    _, there, rest = (DOCS / "team-server.md").read_text().partition(before)
    assert there, before
    text = rest.partition(after)[0]
    for said, own in instead.items():
        assert said in text, said
        text = text.replace(said, own)
    return text


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("team")
    with team_server(folder) as one:
        code = documented("team-server.md", "create_user").replace("http://127.0.0.1:5000", one.uri)
        code = code.replace("at least twelve characters", PASSWORD)
        admin = Program(folder, folder / "cache")
        good(admin.run(sys.executable, "-c", code, **one.variables()))
        yield one


def test_who_has_no_password_is_told_so_in_one_line(
    program: Program, pets: Path, team: Team
) -> None:
    done = program.entry_with("train", {"MLFLOW_TRACKING_URI": team.uri}, **TINY, data=pets)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error:") == 1
    assert "401" in done.stderr or "not authenticated" in done.stderr
    with pytest.raises(MlflowException):
        mlflow.MlflowClient(team.uri).search_experiments()


def test_who_may_not_delete_trains_searches_and_loads_what_others_have_trained(
    program: Program, pets: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that was stopped has sent its checkpoint, and would take it away in the end."""
    own = team.variables(NAME, PASSWORD)
    kept = program.cache / "runs" / "*" / "checkpoint"
    stopped = interrupt(program, "train", kept, {**SHORT, "data": pets}, variables=OFTEN | own)
    (run_id,) = re.findall(r"resume=(\w+)", stopped.stdout)
    done = good(program.entry_with("train", own, resume=run_id))
    assert "Note: the run's artifacts still hold the last checkpoint (" in done.stdout
    assert done.stderr == ""
    good(program.entry_with("tune", own, **TINY_SEARCH, storage=team.studies, data=pets))
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
    home: Program, discs: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = documented("team-server.md", "OLD, NEW").replace(
        "sqlite:////path/to/mlflow.db", home.store
    )
    code = code.replace("http://127.0.0.1:5000", team.uri)
    for name, value in team.variables(NAME, PASSWORD).items():
        monkeypatch.setenv(name, value)
    asked = "\nmlflow.pytorch.load_model(f'models:/pet-unet/{moved.version}')\nprint(moved.version)"
    own = team.variables(NAME, PASSWORD)
    done = good(home.run(sys.executable, "-c", code + asked, **own))
    version = done.stdout.split()[-1]
    model = f"models:/pet-unet/{version}"
    good(home.entry_with("promote", own, model=model, data=discs))
    good(home.entry_with("evaluate", own, model=model, data=discs, split="gate"))
    found = mlflow.MlflowClient(team.uri).get_model_version("pet-unet", version)
    run = mlflow.MlflowClient(team.uri).get_run(str(found.run_id))
    assert home.store in run.data.tags["mlflow.note.content"]
