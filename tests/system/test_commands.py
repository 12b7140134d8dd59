"""Commands as their user types them: they answer at once, and run by `mlflow run`."""

import shlex
import shutil
import sys
from pathlib import Path

import mlflow
import pytest

from tests.helpers.home import Home
from tests.helpers.programs import PROJECT, TINY, Program, entry_command, good, mlflow_run


def test_help_and_wrong_parameters_need_neither_torch_nor_mlflow(program: Program) -> None:
    code = (
        "import os, sys, runpy\n"
        "os.environ.pop('OMP_WAIT_POLICY', None)\n"
        "'SAID' in os.environ or os.environ.pop('GOMP_SPINCOUNT', None)\n"
        "sys.argv = ['train', {}]\n"
        "try:\n    runpy.run_module('experiments.train', run_name='__main__')\n"
        "except SystemExit as end:\n    print('exit', end.code)\n"
        "print(sorted({{'torch', 'mlflow', 'numpy', 'albumentations'}} & set(sys.modules)))\n"
        "print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    shown = program.run(sys.executable, "-c", code.format("'--help'"))
    assert shown.stdout.endswith("exit 0\n[]\n1000\n")
    assert "--train-images" in shown.stdout
    said = {"GOMP_SPINCOUNT": "9", "SAID": "1"}
    refused = program.run(sys.executable, "-c", code.format("'--width=0'"), **said)
    assert refused.stdout.endswith("exit 2\n[]\n9\n")


def test_mlflow_run_takes_what_was_typed_and_nothing_else(program: Program, pets: Path) -> None:
    """A relative address, which the launcher hands on, means the folder where it was typed."""
    store = {"MLFLOW_TRACKING_URI": "sqlite:///new/x.db"}
    good(program.entry("train", **store, **TINY, data=pets, lr="2e-3", seed=5))
    client = mlflow.MlflowClient(f"sqlite:///{program.folder}/new/x.db")
    (earlier,) = client.search_runs(["0"])
    typed = ("--param-list=seed=0", "--param-list", "ema=0.5")
    command = mlflow_run("train", like=earlier.info.run_id, lr="1e-3")
    done = good(program.run(*command, *typed, **store))
    assert not (PROJECT / "new").exists()
    known = ("mlflow.projects", "mlflow.store.db")
    lines = done.stderr.splitlines()
    assert [line for line in lines if not any(name in line for name in known)] == []
    run = client.search_runs(["0"])[0]
    assert run.info.status == "FINISHED"
    given = {"lr": "1e-3", "seed": "0", "ema": "0.5", "like": earlier.info.run_id}
    assert run.data.params == {**earlier.data.params, **given}
    assert client.get_model_version("pet-unet", "2").run_id == run.info.run_id


@pytest.mark.parametrize("end", ["<&- >&- 2>&-", "| true"])
def test_predict_writes_all_masks_whoever_listens(home: Home, tmp_path: Path, end: str) -> None:
    """Standard streams are closed, or their reader has left."""
    photos = home.data / "images"
    command = shlex.join(entry_command("predict", images=photos, output=tmp_path / "out"))
    done = home.run("bash", "-c", f"{command} {end}; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(list(photos.glob("*.jpg")))
    assert (tmp_path / "out" / "predictions.csv").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_git_address_runs_in_uvs_environment_and_leaves_all_behind(program: Program) -> None:
    """Drawn data, store and models outlive the temporary clone in which the code lay."""
    origin = program.folder.parent / "origin"
    left_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "mlruns")
    shutil.copytree(PROJECT, origin, ignore=left_out)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        good(program.run("git", "-C", str(origin), *identity, *words))
    command = mlflow_run("train", f"file://{origin}", data="synthetic", **TINY)
    good(program.run(*command, "--env-manager=uv", "--experiment-name=cats"))
    assert list(program.cache.glob("synthetic-*/images"))
    client = program.client
    experiment = client.get_experiment_by_name("cats")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["data.source"] == "synthetic"
    assert client.get_model_version("pet-unet-synthetic", "1").run_id == run.info.run_id
