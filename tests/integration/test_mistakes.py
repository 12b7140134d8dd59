"""What a user can get wrong, in every entry point: one clear error, before anything begins."""

from pathlib import Path

import mlflow
import pytest

from tests.helpers.programs import PROJECT, README, TINY, Program
from tests.helpers.studies import TINY_SEARCH

TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
NOWHERE = "sqlite:////proc/nothing/mlflow.db"
MANY = "100000"
GROUP = {"MASTER_ADDR": "a", "MASTER_PORT": "1", "WORLD_SIZE": "two", "RANK": "0"}
PHOTO = {"images": str(README), "output": "o"}
#: By entry point and kind: what is typed, or in the environment; the exit code; what is said.
BAD: dict[str, tuple[dict[str, str], int, str]] = {
    "train: encoder": ({"encoder": "vgg61", "depth": ""}, 2, "encoder=vgg61: is not known; did"),
    "tune: encoder": ({"encoder": "unet,vgg61", "depth": ""}, 2, "encoder=vgg61: is not known; "),
    "train: choice": ({"border": "half"}, 2, "border=half: expected one of"),
    "train: range": ({"lr": "nan", "width": "0"}, 2, "width=0: expected a whole number"),
    "train: model name": ({"model_name": "a/b"}, 2, "model_name=a/b: expected a name without"),
    "train: no home": ({"data": "~nobody-of-this-name/x"}, 2, "give an absolute path"),
    "train: images": ({"train_images": "1000"}, 2, "train_images=1000: there are"),
    "train: budget": ({"budget": "soon"}, 2, "expected such as 90s, 5m or 1.5h"),
    "train: elsewhere": ({"learning_rate": "1"}, 2, "'--learning-rate'. Did you mean '--lr'"),
    "train: no layout": ({"data": "/"}, 1, "/: expected a folder in the layout of Oxford-IIIT Pet"),
    "train: no folder": ({"data": "nowhere"}, 1, "nowhere: there is no such folder"),
    "train: no server": ({TRACKING: "http://127.0.0.1:9"}, 1, "store http://127.0.0.1:9 cannot be"),
    "train: no http": ({TRACKING: "localhost:9"}, 1, "set MLFLOW_TRACKING_URI=http://localhost:9"),
    "train: no home in it": ({TRACKING: "sqlite:///~/x.db"}, 1, f"=sqlite:///{Path.home()}/x.db"),
    "train: store": ({TRACKING: f"sqlite:///{PROJECT}"}, 1, f"as sqlite:///{PROJECT}/mlflow.db"),
    "train: no database": ({TRACKING: f"sqlite:///{README}"}, 1, "; give another file, or set"),
    "train: registry": ({REGISTRY: "x.db"}, 1, "set MLFLOW_REGISTRY_URI=sqlite:///x.db"),
    "train: experiment": ({"MLFLOW_EXPERIMENT_ID": "7"}, 1, "; name another in MLFLOW_EXPERIMENT"),
    "train: files": ({TRACKING: "mlruns"}, 1, "`mlflow migrate-filestore --source mlruns"),
    "train: driver": ({TRACKING: "mysql://a:pass@127.0.0.1/x"}, 1, "mysql://a:***@127.0.0.1/x"),
    "train: no driver": ({TRACKING: "mssql://a@127.0.0.1/x"}, 1, "; `pip install pyodbc`, or"),
    "train: no store": ({TRACKING: NOWHERE}, 1, "'/proc/nothing'); make the folder writable"),
    "train: no cache": ({"PETSEG_CACHE": "/proc/nothing", "data": "synthetic"}, 1, "/proc/nothing"),
    "train: config": ({"config": "none.yaml"}, 2, "config=none.yaml: cannot be read (No such file"),
    "train: augment": ({"augment": "x"}, 2, "augment=x: expected one of none, light, strong, or"),
    "train: pipeline": ({"augment": str(README)}, 2, f"augment={README}: "),
    "tune: pipelines": ({"augment": f"light,{README}"}, 2, f"augment={README}: "),
    "train: shares": ({"processes": "5", "batch_size": "4"}, 2, "with batch_size=4 there are 4 at"),
    "train: processors": ({"processes": MANY, "batch_size": MANY}, 2, "processors; start fewer"),
    "train: before two": ({"processes": "2", "data": "nowhere"}, 1, "there is no such folder"),
    "train: group": (GROUP, 2, "WORLD_SIZE=two, RANK=0"),
    "tune: processors": ({"workers": "256"}, 2, "workers=256: there are"),
    "tune: no range": ({"width": "8..x"}, 2, "width=8..x: expected a whole number"),
    "tune: no space": ({"width": "4", "lr": "1e-3"}, 2, "nothing to search"),
    "tune: corner": ({"depth": "3..7"}, 2, "depth=7: at image_size=32"),
    # Only encoder=unet has a depth, so it is the one that is meant.
    "train: depth": ({"encoder": "", "depth": "6"}, 2, "depth=6: at image_size=32"),
    "tune: depth": ({"encoder": "", "depth": "3..7"}, 2, "depth=7: at image_size=32"),
    "tune: study": ({"study": "a/b"}, 2, "study=a/b: expected up to 100 letters"),
    "tune: storage": ({"storage": "sqlite:///x"}, 2, "storage=sqlite:///x: expected postgresql://"),
    "benchmark: suite": ({"suite": "speed"}, 2, "suite=speed: expected one of all, step, loop"),
    "benchmark: widths": ({"widths": "8,x"}, 2, "widths=8,x: expected whole numbers"),
    "benchmark: sizes": ({"sizes": "8"}, 2, "image_size=8: expected a whole number, at least 16"),
    "shrink: hours": ({"older": "2h", "delete": "true"}, 2, "older=2h: expected a"),
    "predict: no folder": (PHOTO | {"model": "pet-unet"}, 1, "mean models:/pet-unet@champion?)"),
    "recover: storage": ({"storage": "x.db", "study": "a"}, 2, "storage=x.db: expected postgres"),
    "recover: which": ({"storage": "postgresql://me@127.0.0.1:9/x"}, 2, "give `study`, too"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_gives_one_error_and_no_run(program: Program, pets: Path, case: str) -> None:
    entry, (changes, code, message) = case.partition(":")[0], BAD[case]
    usual = {"train": TINY | {"data": str(pets)}, "tune": TINY_SEARCH | {"data": str(pets)}}
    done = program.entry(entry, **(usual.get(entry, {}) | changes))
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Reading images" not in done.stdout
    assert not (program.folder / "studies").exists()
    if TRACKING in changes:
        assert list(program.folder.iterdir()) == []
    elif (program.folder / "mlflow.db").exists():
        assert program.runs() == []


def test_what_was_deleted_is_named_with_the_command_that_restores_it(
    program: Program, client: mlflow.MlflowClient, pets: Path
) -> None:
    mine = client.create_experiment("mine")
    run = client.create_run(mine).info.run_id
    for experiment in (mine, "0"):
        client.delete_experiment(experiment)
    cases: tuple[tuple[str, dict[str, str]], ...] = (
        ("0", {}),
        (mine, {"MLFLOW_EXPERIMENT_NAME": "mine"}),
        (mine, {"MLFLOW_EXPERIMENT_ID": mine}),
        (mine, {"resume": run}),
        (mine, {"MLFLOW_EXPERIMENT_NAME": "another", "like": run}),
    )
    for experiment, given in cases:
        done = program.entry("train", data=pets, **TINY, **given)
        assert (done.returncode > 0, "Reading images" in done.stdout) == (True, False)
        assert f"`mlflow experiments restore --experiment-id {experiment}`" in done.stderr
