"""`train` when something is wrong, or when others train at the same time."""

import shutil
import signal
import sys
import time
from pathlib import Path

import mlflow
import pytest

from tests.helpers.programs import PROJECT, TINY, Program, entry_command, read_until

BAD = {
    "unknown choice": ({"border": "half"}, 2, "border=half: expected one of"),
    "no number": ({"epochs": "ten"}, 2, "epochs=ten: expected a whole number, at least 1"),
    "out of range": ({"lr": "nan", "width": "0"}, 2, "width=0: expected a whole number"),
    "seed too large": ({"seed": "99999999999999999999"}, 2, "seed=99999999999999999999: expected"),
    "model name": ({"model_name": "a/b"}, 2, "model_name=a/b: expected a name without"),
    "no such home": ({"data": "~nobody-of-this-name/x"}, 2, "give an absolute path"),
    "too many images": ({"train_images": "1000"}, 2, "train_images=1000: there are"),
    "no folder": ({"data": "nowhere"}, 1, "nowhere: expected a folder in the layout"),
    "no server": (
        {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
        1,
        "tracking store http://127.0.0.1:9 cannot be used",
    ),
    "no driver": ({"MLFLOW_TRACKING_URI": "mysql://a:secret@127.0.0.1/x"}, 1, "mysql://a:***@127"),
    "no store folder": (
        {"MLFLOW_TRACKING_URI": "sqlite:////proc/nothing/mlflow.db"},
        1,
        "cannot be used",
    ),
    "no cache folder": ({"PETSEG_CACHE": "/proc/nothing", "data": "synthetic"}, 1, "/proc/nothing"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_gives_one_clear_error_and_no_run(
    program: Program, pets: Path, case: str
) -> None:
    changes, code, message = BAD[case]
    surroundings = {name: value for name, value in changes.items() if name.isupper()}
    options = {name: value for name, value in changes.items() if not name.isupper()}
    command = entry_command("train", **{"data": pets, **TINY, **options})
    done = program.run(*command, **surroundings)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    if (program.folder / "mlflow.db").exists():
        assert mlflow.MlflowClient(program.store).search_runs(["0"]) == []


def test_bad_files_stop_a_training_or_are_left_out_and_logged(
    program: Program, own_pets: Path
) -> None:
    for file in sorted((own_pets / "images").iterdir())[::4]:
        file.write_bytes(file.read_bytes()[:300])
    stopped = program.entry("train", **TINY, data=own_pets)
    assert stopped.returncode == 1
    assert "examples cannot be used" in stopped.stderr
    assert stopped.stderr.count(".jpg: cannot be decoded") >= 2
    client = mlflow.MlflowClient(program.store)
    assert client.search_runs(["0"]) == []
    skipped = program.entry("train", **TINY, data=own_pets, bad_examples="skip")
    assert skipped.returncode == 0, skipped.stderr
    assert skipped.stdout.count("Left out of ") == stopped.stderr.count("cannot be decoded")
    (run,) = client.search_runs(["0"])
    report = Path(client.download_artifacts(run.info.run_id, "bad_examples.txt")).read_text()
    assert report.count("cannot be decoded") == stopped.stderr.count("cannot be decoded")


def test_a_diverging_training_is_failed_with_its_reason_and_registers_nothing(
    program: Program, own_pets: Path
) -> None:
    # 1e30 is no sane rate: validation refuses it. The largest allowed one, with a huge decay,
    # multiplies the weights by -99 at each step until they overflow.
    options = {**TINY, "epochs": "40", "lr": "9.99", "weight_decay": "9.99", "ema": "0"}
    done = program.entry("train", **options, data=own_pets, precision="fp32")
    assert done.returncode == 1, done.stdout
    assert "loss became" in done.stderr
    assert "nothing was registered" in done.stderr
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FAILED"
    assert "loss became" in run.data.tags["failure"]
    assert client.search_registered_models() == []


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_as_killed(
    program: Program, pets: Path, kind: signal.Signals
) -> None:
    process = program.start(*entry_command("train", **{**TINY, "epochs": "100000"}, data=pets))
    try:
        read_until(process, "Epoch ")
        process.send_signal(kind)
        _, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert err.startswith("Error: stopped by Ctrl-C or SIGTERM")
    assert len(err.splitlines()) == 1
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.info.status == "KILLED"


def test_several_may_start_at_once_on_a_store_that_does_not_exist(
    program: Program, pets: Path
) -> None:
    processes = [
        program.start(
            *entry_command("train", **TINY, data=pets, seed=seed), MLFLOW_EXPERIMENT_NAME="new"
        )
        for seed in range(4)
    ]
    for process in processes:
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
    client = mlflow.MlflowClient(program.store)
    experiment = client.get_experiment_by_name("new")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    versions = client.search_model_versions("name='pet-unet'")
    assert sorted(int(version.version) for version in versions) == [1, 2, 3, 4]


def test_help_and_wrong_parameters_need_neither_torch_nor_mlflow(program: Program) -> None:
    code = (
        "import sys, runpy\n"
        "sys.argv = ['train', {}]\n"
        "try:\n    runpy.run_module('experiments.train', run_name='__main__')\n"
        "except SystemExit as end:\n    print('exit', end.code)\n"
        "print(sorted({{'torch', 'mlflow', 'numpy', 'albumentations'}} & set(sys.modules)))"
    )
    shown = program.run(sys.executable, "-c", code.format("'--help'"))
    assert shown.stdout.endswith("exit 0\n[]\n")
    assert "--train-images" in shown.stdout
    refused = program.run(sys.executable, "-c", code.format("'--width=0'"))
    assert refused.stdout.endswith("exit 2\n[]\n")


def test_a_git_address_runs_from_a_temporary_clone_and_leaves_all_behind(
    program: Program,
) -> None:
    """Drawn data, store and models outlive the clone in which the code lay."""
    origin = program.folder.parent / "origin"
    shutil.copytree(
        PROJECT,
        origin,
        ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", "mlruns"),
    )
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        assert program.run("git", "-C", str(origin), *identity, *words).returncode == 0
    started = time.time()
    parameters = [f"-P{name}={value}" for name, value in TINY.items()]
    command = ["mlflow", "run", f"file://{origin}", "-e", "train", "--env-manager", "local"]
    done = program.run(*command, "-Pdata=synthetic", "--experiment-name=cats", *parameters)
    assert done.returncode == 0, done.stderr
    assert list(program.cache.glob("synthetic-*/images"))
    client = mlflow.MlflowClient(program.store)
    experiment = client.get_experiment_by_name("cats")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.start_time > started * 1000 - 1000
    assert run.data.tags["data.source"] == "synthetic"
    assert client.get_model_version("pet-unet-synthetic", "1").run_id == run.info.run_id


def test_under_mlflow_run_our_sentence_is_the_last_before_mlflows_own(
    program: Program, pets: Path
) -> None:
    command = ["mlflow", "run", str(PROJECT), "-e", "train", "--env-manager", "local"]
    done = program.run(*command, f"-Pdata={pets}", "-Pborder=half")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    ours = next(i for i, line in enumerate(lines) if line.startswith("Error: border=half"))
    assert all("mlflow" in line.lower() for line in lines[ours + 1 :])
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    assert run.info.status == "FAILED"
