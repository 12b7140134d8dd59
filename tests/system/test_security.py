"""What SECURITY.md promises, read from the code, and tried on a real shell."""

import ast
import itertools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import mlflow.cli
import mlflow.models.cli
import pytest
from mlflow.models import Model
from mlflow.projects._project_spec import load_project

from segmentation.errors import ConfigError, ModelError
from segmentation.tracking.registry.export import TENSORS
from segmentation.tracking.registry.loading import load
from segmentation.utils.paths import run_folder
from tests.helpers.programs import PROJECT

FOLDERS = ("segmentation", "experiments", "docs/benchmarks")
CODE = [path for folder in FOLDERS for path in sorted((PROJECT / folder).rglob("*.py"))]
DOCUMENTS = [
    *PROJECT.glob("*.md"),
    PROJECT / "MLproject",
    *(path for path in (PROJECT / ".ci").iterdir() if path.is_file()),
    *(PROJECT / ".github").rglob("*.yml"),
    *CODE,
    *(PROJECT / "segmentation").rglob("*.jinja"),
]

#: What turns bytes into code or objects, starts a shell, or opens a port.
MODULES = {
    *("pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "jsonpickle"),
    *("code", "codeop", "pty", "socketserver", "http", "xmlrpc"),
}
CALLS = {
    *("eval", "exec", "compile", "__import__"),
    *("socket.socket", "socket.create_server", "socket.fromfd"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("pd.read_pickle", "pandas.read_pickle", "torch.hub.load", "torch.jit.load"),
    *("shutil.unpack_archive", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
}


def faults(source: str) -> list[str]:
    """Return what a module does that nothing here may do."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.partition(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] in MODULES:
                found.append(str(node.module))
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name in CALLS | {"torch.load", "numpy.load"}]
        elif isinstance(node, ast.Call):
            found += _faults_of(node)
    return found


def _faults_of(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func)
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    wrong = [
        name in CALLS,
        name == "torch.load" and given.get("weights_only") != "True",
        name in ("np.load", "numpy.load") and given.get("allow_pickle", "False") != "False",
        name.endswith((".extractall", ".extract")) and given.get("filter") != "'data'",
        given.get("shell", "False") != "False",
        name.startswith("subprocess.") and None in given,  # `**`, which could hold anything
    ]
    return [ast.unparse(call)] if any(wrong) else []


WRONG = """import pickle
from joblib import load
import http.server
socket.socket()
torch.load(path)
torch.load(path, weights_only=False)
from torch import load
np.load(path, allow_pickle=True)
np.load(path, allow_pickle=trusted)
eval(text)
exec(text)
os.system(text)
subprocess.run(text, shell=True)
subprocess.run(text, **options)
yaml.load(text)
archive.extractall(folder)
pd.read_pickle(path)"""
RIGHT = "torch.load(p, weights_only=True); np.load(p); np.load(p, allow_pickle=False); m.eval()"


def test_what_would_be_wrong_is_seen_and_what_is_right_is_let_be() -> None:
    assert [line for line in WRONG.splitlines() if len(faults(line)) != 1] == []
    assert faults(RIGHT) == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(PROJECT)))
def test_no_file_is_unpickled_and_none_runs_as_code(path: Path) -> None:
    assert faults(path.read_text()) == []


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
NASTY = [
    "x; touch PWNED",
    "$(touch PWNED)",
    "`touch PWNED`",
    "'; touch PWNED; '",
    '"; touch PWNED; "',
    "'\"$(touch PWNED)\"'",
    "x\ntouch PWNED\n",
    "x && touch PWNED || touch PWNED | touch PWNED & touch PWNED",
    "> PWNED",
    "\\",
    "--help",
    "{data} %s $HOME ~ * ?",
    "",
]


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    """A folder with a `python` that shows its arguments, a NUL behind each, and does nothing."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    python.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("entry", ENTRY_POINTS)
def test_every_parameter_of_an_entry_point_stays_one_value(entry: str, shown: Path) -> None:
    """Its command line as MLflow makes it, run by the shell with which MLflow runs it."""
    point = ENTRY_POINTS[entry]
    for value in NASTY:
        given = {**dict.fromkeys(point.parameters, value), value or "x": value}  # and an unknown
        command = point.compute_command(given, None)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=shown,
            env={"PATH": f"{shown / 'bin'}:/usr/bin:/bin"},
            capture_output=True,
            check=True,
        )
        words = done.stdout.decode().split("\0")[:-1]
        expected = [word for name in _options(point.command) for word in (name, value)]
        assert words == ["-m", words[1], *expected, f"--{value or 'x'}", value]
        assert [path.name for path in shown.iterdir()] == ["bin"]


def _options(command: str) -> list[str]:
    """Return the options of a command of MLproject, each of which stands before its parameter."""
    words = shlex.split(command)
    return [before for before, word in itertools.pairwise(words) if word[0] == "{"]


@pytest.mark.parametrize(
    "run_id", ["", "..", "../../x", "0" * 31, "0" * 33, "F" * 32, f"{'0' * 32}\n"]
)
def test_only_a_run_id_becomes_a_path(run_id: str) -> None:
    with pytest.raises(ConfigError, match="expected 32 digits"):
        run_folder(run_id)


# Servers.


def test_every_documented_server_listens_on_loopback() -> None:
    told = 0
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        for host in re.findall(r"--host[=\s\\\"',]+([^\s\"',`]+)", text):
            assert host == "127.0.0.1", path
            told += 1
        assert "0.0.0.0" not in text, path  # noqa: S104
        for command in re.findall(r"^mlflow models serve .*", text, re.M):
            assert "--host 127.0.0.1" in command, path
    assert told >= 2


@pytest.mark.parametrize(
    "command", [mlflow.cli.server, mlflow.models.cli.serve], ids=["server", "models serve"]
)
def test_what_names_no_host_listens_on_loopback_by_mlflows_own_default(
    command: click.Command,
) -> None:
    (host,) = [param for param in command.params if param.name == "host"]
    assert host.default == "127.0.0.1"
