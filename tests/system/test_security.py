"""What SECURITY.md promises, read from the code, and tried on a real shell."""

import re
import subprocess
import sys
from pathlib import Path

import mlflow.cli
import mlflow.models.cli
import pytest
from mlflow.models import Model
from mlflow.projects._project_spec import load_project

from segmentation.errors import ConfigError, ModelError
from segmentation.tracking.registry.export import TENSORS
from segmentation.tracking.registry.loading import load
from segmentation.tracking.runs.run_folder import RunFolder
from tests.helpers.programs import PROJECT

FOLDERS = ("segmentation", "experiments", "docs")
CODE = [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*.py"))]
DOCUMENTS = [
    *PROJECT.glob("*.md"),
    *(PROJECT / "docs").rglob("*.md"),
    PROJECT / "MLproject",
    *(path for path in (PROJECT / ".ci").iterdir() if path.is_file()),
    *(PROJECT / ".github").rglob("*.yml"),
    *CODE,
    *(PROJECT / "segmentation").rglob("*.jinja"),
]


def test_what_is_loaded_may_hold_no_objects() -> None:
    for path in CODE:
        for call in re.findall(r"\b(?:np|numpy|torch)\.load\(.*", path.read_text()):
            assert "weights_only=True" in call or "allow_pickle=False" in call


# Models.


@pytest.mark.parametrize(
    ("brings", "runs"),
    [
        ({"loader_module": "evil", "code": "code"}, True),
        ({"loader_module": "mlflow.pyfunc.model", "model_code_path": "evil.py"}, True),
        ({"loader_module": "mlflow.sklearn"}, False),  # may unpickle
    ],
    ids=["code", "from code", "loader"],
)
def test_a_model_that_could_run_code_is_refused_unless_it_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brings: dict[str, str], runs: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    folder = tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    for evil in (folder / "evil.py", folder / "code" / "evil.py"):
        evil.write_text("open('PWNED', 'w').close()\n")
    model = Model(signature=TENSORS)
    model.add_flavor("python_function", python_version="3.11", **brings)
    model.save(str(folder / "MLmodel"))
    with pytest.raises(ModelError, match=r"brings code of its own, .*say allow_pickle=true"):
        load(str(folder))
    assert not (tmp_path / "PWNED").exists()
    with pytest.raises(ModelError, match="cannot be loaded"):  # it is no model, but was begun on
        load(str(folder), allow_pickle=True)
    assert (tmp_path / "PWNED").exists() == runs


# Parameters.

ENTRY_POINTS = load_project(str(PROJECT))._entry_points  # type: ignore[no-untyped-call]
NASTY = "x'; touch PWNED; '\"$(touch PWNED)`touch PWNED`\"\ntouch PWNED && touch PWNED > PWNED\n"


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_every_parameter_of_an_entry_point_stays_one_value(entry: str, tmp_path: Path) -> None:
    """Its command line as MLflow makes it, run by the shell with which MLflow runs it."""
    point = ENTRY_POINTS[entry]
    given = {**dict.fromkeys(point.parameters, NASTY), NASTY: NASTY}  # and an unknown one
    command = point.compute_command(given, None).replace("python -m ", "printf '%s\\0' ", 1)
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    expected = [word for name in (*point.parameters, NASTY) for word in (f"--{name}", NASTY)]
    assert done.stdout.decode().split("\0")[1:-1] == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "run_id", ["", "..", "../../x", "0" * 31, "0" * 33, "F" * 32, f"{'0' * 32}\n"]
)
def test_only_a_run_id_becomes_a_path(run_id: str) -> None:
    with pytest.raises(ConfigError, match="expected 32 digits"):
        RunFolder(run_id)


# Servers.


def test_every_documented_server_listens_on_loopback() -> None:
    told = 0
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for host in re.findall(r"--host[=\s\\\"',]+([^\s\"',`]+)", text):
            assert host == "127.0.0.1", path
            told += 1
        assert not re.search(r"\b0\.0\.0\.0", text), path
        for command in re.findall(r"^mlflow models serve .*", text, re.M):
            assert "--host 127.0.0.1" in command, path
    assert told >= 2
    for command in (mlflow.cli.server, mlflow.models.cli.serve):  # where no host is named
        assert [param.default for param in command.params if param.name == "host"] == ["127.0.0.1"]
