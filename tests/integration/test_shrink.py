"""`shrink` on real stores: what it says, what goes, and all that stays."""

import dataclasses
import hashlib
import os
import sys
import time
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock

from segmentation.config.shrink import ShrinkConfig
from segmentation.tracking.inventory.local_files import cache_kinds
from segmentation.tracking.inventory.models import model_kinds
from segmentation.tracking.inventory.runs import checkpoints
from segmentation.tracking.registry.loading import load
from segmentation.utils.files import create_once
from segmentation.utils.inventory import Category, Item, free
from tests.helpers.programs import PROJECT, TINY, Program, read_until
from tests.helpers.stopped import OFTEN, tracking_server

OLD = 40 * 86400

_TRAIN = """
import sys
from experiments.train import main
for seed in range(int(sys.argv[1])):
    main([*sys.argv[2:], "--seed", str(seed)], standalone_mode=False)
"""


def flags(**options: object) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]


def freed(*kinds: Category) -> list[str]:
    """Free what can go; return the kinds of which something went."""
    gone: dict[str, list[Item]] = {}
    free(kinds, gone, lambda *_: None)
    return list(gone)


def tree(folder: Path) -> dict[str, str]:
    """Every file and what is in it, but for what SQLite and locks write."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith("mlflow.db") and path.suffix != ".lock"
    }


@dataclasses.dataclass
class Store:
    """A store with six trainings.

    Version 1 has an alias, 2 is registered elsewhere too, of 3 somebody has deleted the version, 4
    and 5 are plain, and 6 is the challenger.
    """

    program: Program
    models: dict[str, str]  # the address of the model's artifacts, by version

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(self.program.store)

    def versions(self) -> set[int]:
        return {int(v.version) for v in self.client.search_model_versions("name='pet-unet'")}

    def there(self, version: str) -> bool:
        return any(path.is_file() for path in Path(self.models[version]).rglob("*"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Store:
    folder = tmp_path_factory.mktemp("shrunk")
    program = Program(folder / "work", folder / "cache")
    options = flags(**TINY | {"epochs": "1"}, data=pets)
    done = program.run(sys.executable, "-c", _TRAIN, "6", *options)
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(program.store)
    sources = {
        str(version.version): str(version.source).removeprefix("models:/")
        for version in client.search_model_versions("name='pet-unet'")
    }
    models = {
        number: client.get_logged_model(model_id).artifact_location.removeprefix("file://")
        for number, model_id in sources.items()
    }
    for alias in client.get_registered_model("pet-unet").aliases:  # whoever won
        client.delete_registered_model_alias("pet-unet", alias)
    client.set_registered_model_alias("pet-unet", "mine", "1")
    client.set_registered_model_alias("pet-unet", "challenger", "6")
    second = client.get_model_version("pet-unet", "2")
    mlflow.set_tracking_uri(program.store)  # where MLflow looks for the source, whatever the client
    client.create_registered_model("elsewhere")
    client.create_model_version("elsewhere", str(second.source), second.run_id)
    client.delete_model_version("pet-unet", "3")
    return Store(program=program, models=models)


def test_what_is_only_said_changes_nothing(store: Store) -> None:
    before = [tree(store.program.folder), tree(store.program.cache)]
    done = store.program.entry("shrink", versions=1)
    assert done.returncode == 0, done.stderr
    assert [tree(store.program.folder), tree(store.program.cache)] == before
    assert store.versions() == {1, 2, 4, 5, 6}
    lines = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert lines["versions"][1::2][:2] == ["5", "1"]
    assert lines["models without a version"][4::2][:2] == ["1", "1"]
    assert lines["decoded images"][2::2][:2] == ["1", "1"]
    assert "Nothing was deleted; 3 can go, " in done.stdout
    again = f"mlflow run {PROJECT} -e shrink --env-manager local -P versions=1 -P delete=true"
    assert done.stdout.splitlines()[-1] == f"Next:  {again}"


def test_by_default_no_version_of_a_small_store_can_go(store: Store) -> None:
    done = store.program.entry("shrink", caches="false")
    assert "Nothing was deleted; 1 can go" in done.stdout  # the one without a version


def test_what_nobody_needs_goes_and_all_else_still_loads(store: Store) -> None:
    """It changes the store; the test below takes it as it is then."""
    command = ["mlflow", "run", str(PROJECT), "-e", "shrink", "--env-manager", "local"]
    done = store.program.run(*command, "-Pversions=1", "-Pdelete=true")
    assert done.returncode == 0, done.stderr
    assert "MiB: versions (1), models without a version (1), decoded images (1)" in done.stdout
    assert store.versions() == {1, 2, 5, 6}
    assert [store.there(version) for version in "123456"] == [True, True, False, False, True, True]
    mlflow.set_tracking_uri(store.program.store)
    for version in ("pet-unet@mine", "pet-unet/2", "elsewhere/1", "pet-unet/5", "pet-unet/6"):
        assert load(f"models:/{version}") is not None
    run = store.client.search_runs(["0"], "attributes.run_name = 'shrink'")[0]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["shrink/deleted"] == 3
    assert "- pet-unet version 4" in run.data.tags["mlflow.note.content"]
    trainings = store.client.search_runs(["0"], "tags.`data.digest` LIKE '%'")
    assert len(trainings) == 6  # what they logged is all there
    assert all(run.data.metrics["best/dice"] >= 0 for run in trainings)
    again = store.program.entry("shrink", versions=1, delete="true")
    assert again.returncode == 0, again.stderr
    assert "Nothing is left that can go" in again.stdout
    assert "Next:" not in again.stdout


def test_runs_deleted_in_mlflow_go_with_the_command_that_is_told(store: Store) -> None:
    run = store.client.search_runs(["0"], "tags.`data.digest` LIKE '%'")[0].info.run_id
    store.client.delete_run(run)
    done = store.program.entry("shrink")
    told = "Runs that were deleted in MLflow go with: "
    (command,) = [line for line in done.stdout.splitlines() if line.startswith(told)]
    collected = store.program.run("bash", "-c", command.removeprefix(told))
    assert collected.returncode == 0, collected.stderr
    assert f"Run with ID {run} has been permanently deleted" in collected.stdout
    assert told not in store.program.entry("shrink").stdout


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"older": "2h"}, "older=2h: expected a time of at least a day"),
        ({"older": "soon"}, "older=soon: expected a time"),
        ({"versions": "0"}, "versions=0: expected a whole number, at least 1"),
        ({"delete": "maybe"}, "delete=maybe: expected true or false"),
    ],
)
def test_a_mistake_deletes_nothing(program: Program, wrong: dict[str, str], message: str) -> None:
    done = program.entry("shrink", **{"delete": "true", **wrong})
    assert done.returncode == 2
    assert message in done.stderr
    assert not (program.folder / "mlflow.db").exists()


# Checkpoints.


class Runs:
    """Runs in a store of their own, and their folders in the cache."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / "runs"
        self.client = mlflow.MlflowClient()

    def run(self, status: str, ended: float = 0, **tags: str) -> str:
        """Make a run that ended so, so many seconds ago."""
        tags = {name.replace("_", "."): value for name, value in tags.items()}
        ours = {"git.dirty": "false", "data.digest": "0"}
        run = self.client.create_run("0", tags=ours | tags)
        if status != "RUNNING":
            moment = int((time.time() - ended) * 1000)
            self.client.set_terminated(run.info.run_id, status, end_time=moment)
        return str(run.info.run_id)

    def model(self, run_id: str, **params: str) -> str:
        """Log a model in a run, registered under no name; return its id."""
        told = {name.replace("_", "."): value for name, value in params.items()}
        model = self.client.create_logged_model("0", "model", run_id, params=told)
        return str(model.model_id)

    def keep(self, run_id: str, age: float = 0, outbox: str = "") -> Path:
        """Write what such a training keeps, so many seconds ago."""
        folder = self.folder / run_id
        (folder / "outbox").mkdir(parents=True)
        (folder / "checkpoint").write_bytes(bytes(1000))
        if outbox:
            (folder / "outbox" / outbox).write_text("undelivered")
        for path in (*folder.rglob("*"), folder):
            os.utime(path, (time.time() - age,) * 2)
        return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path / "cache"))
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    return Runs(tmp_path / "cache")


def test_a_checkpoint_goes_only_when_nobody_can_want_it(runs: Runs) -> None:
    deleted = runs.run("FAILED")
    runs.client.delete_run(deleted)
    go = [
        runs.keep(runs.run("FINISHED")),
        runs.keep(deleted),
        runs.keep(runs.run("KILLED"), age=OLD),
        runs.keep(runs.run("RUNNING"), age=OLD),
        runs.keep("0" * 32, age=OLD),
    ]
    unfinished = runs.folder / f".{'1' * 32}.going"
    runs.keep("1" * 32).rename(unfinished)
    stay = [
        runs.keep(runs.run("FINISHED"), outbox="figures"),
        runs.keep(runs.run("KILLED"), age=OLD, outbox="figures"),
        runs.keep("2" * 32, age=OLD, outbox="figures"),
        *(runs.keep(runs.run(status)) for status in ("RUNNING", "KILLED", "FAILED")),
        runs.keep("3" * 32),
        runs.keep("somebody's own", age=OLD),
        runs.keep("F" * 32, age=OLD),
    ]
    kind = checkpoints(ShrinkConfig())
    assert len(kind.things) == len(go) + 1 + len(stay) - 2
    assert len(kind.spare) == len(go) + 1
    assert not checkpoints(ShrinkConfig(checkpoints=False)).spare
    with FileLock(go[0] / "lock"):  # as who writes a run holds it
        assert len(checkpoints(ShrinkConfig()).spare) == len(go)
        freed(kind)
        assert go[0].exists()
    freed(checkpoints(ShrinkConfig()))
    assert not [path for path in (*go, unfinished) if path.exists()]
    assert all((path / "checkpoint").stat().st_size == 1000 for path in stay)
    assert not checkpoints(ShrinkConfig()).spare


def test_what_was_gone_on_with_since_it_was_counted_stays(runs: Runs) -> None:
    old = runs.keep(runs.run("KILLED"), age=OLD)
    told = runs.keep(runs.run("FINISHED"))
    kind = checkpoints(ShrinkConfig())
    assert len(kind.spare) == 2
    (old / "checkpoint").write_bytes(bytes(2000))
    (told / "outbox" / "figures").write_text("undelivered")
    assert freed(kind) == []
    assert old.exists()
    assert told.exists()


def test_links_are_never_followed(runs: Runs, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    runs.folder = outside
    finished = runs.run("FINISHED")
    mine = runs.keep(finished)
    (tmp_path / "cache" / "runs").mkdir(parents=True)
    (tmp_path / "cache" / "runs" / finished).symlink_to(mine)
    other = tmp_path / "cache" / "runs" / runs.run("FINISHED")
    other.mkdir()
    (other / "checkpoint").symlink_to(mine / "checkpoint")
    (other / "deeper").symlink_to(mine)
    before = tree(outside)
    freed(checkpoints(ShrinkConfig()))
    assert not other.exists()
    assert tree(outside) == before
    for name in ("runs", "decoded"):
        folder = tmp_path / "cache" / name
        if folder.exists():
            folder.rename(tmp_path / f"{name} before")
        folder.symlink_to(outside)
    (outside / "32").mkdir()
    before = tree(outside)
    kinds = [checkpoints(ShrinkConfig()), *cache_kinds(ShrinkConfig())]
    assert [kind.things for kind in kinds if kind.things] == []
    assert tree(outside) == before


def test_an_uploaded_checkpoint_goes_with_the_same_rules(runs: Runs) -> None:
    go = [runs.run("FINISHED"), runs.run("KILLED", ended=OLD)]
    stay = [runs.run("RUNNING"), runs.run("KILLED"), runs.run("FAILED")]
    for run_id in (*go, *stay):
        runs.client.log_text(run_id, "all that it needs", "checkpoint/latest.npz")
        runs.client.log_text(run_id, "a picture", "val/worst.jpg")
    kind = checkpoints(ShrinkConfig())
    assert (len(kind.things), len(kind.spare)) == (5, 2)
    freed(kind)
    for run_id in (*go, *stay):
        found = {item.path for item in runs.client.list_artifacts(run_id)}
        assert found == {"val"} | ({"checkpoint"} if run_id in stay else set())


# Models.


def test_a_model_without_a_version_goes_only_when_nobody_can_want_it(runs: Runs) -> None:
    ours = {"training_epochs": "3"}
    deleted, collected = runs.run("FAILED"), runs.run("FINISHED")
    runs.client.delete_run(deleted)
    alive = runs.run("FINISHED", study_id="alive", stage="parent")
    restorable = runs.run("FINISHED", study_id="restorable", stage="parent")
    runs.client.delete_run(restorable)
    go = [
        runs.model(runs.run("FINISHED"), **ours),
        runs.model(runs.run("KILLED", ended=OLD), **ours),
        runs.model(runs.run("FINISHED", study_id="of no parent", stage="search"), **ours),
        runs.model(deleted, **ours),
    ]
    stay = [
        *(runs.model(runs.run(status), **ours) for status in ("RUNNING", "KILLED", "FAILED")),
        runs.model(runs.run("FINISHED", study_id="alive", stage="search"), **ours),
        runs.model(runs.run("KILLED", OLD, study_id="restorable", stage="search"), **ours),
        runs.model(collected, epochs="3"),  # another program's
    ]
    assert runs.client.get_run(alive).info.status == "FINISHED"
    kinds = model_kinds(ShrinkConfig())
    assert [len(kind.things) for kind in kinds] == [0, 7, 2]
    assert freed(*model_kinds(ShrinkConfig(versions="all"))) == []
    assert freed(*kinds) == ["models without a version"]
    left = {model.model_id for model in runs.client.search_logged_models(["0"])}
    assert left == set(stay)
    assert not left & set(go)


def test_a_model_that_somebody_has_begun_to_want_since_it_was_counted_stays(runs: Runs) -> None:
    run_id = runs.run("FINISHED")
    runs.model(run_id, training_epochs="3")
    kinds = model_kinds(ShrinkConfig())
    runs.client.update_run(run_id, status="RUNNING")
    assert freed(*kinds) == []
    runs.client.set_terminated(run_id)
    assert freed(*kinds) == ["models without a version"]
    assert freed(*kinds) == []  # once is enough


# Caches.


def test_decoded_images_go_those_of_earlier_versions_too(cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "key.npz").write_bytes(bytes(100))
    (cache.parent / "32.sqlite").write_bytes(bytes(50))
    assert not cache_kinds(ShrinkConfig(caches=False))[0].spare
    decoded = cache_kinds(ShrinkConfig())[0]
    assert [thing.size for thing in decoded.spare] == [150]
    assert freed(decoded) == ["decoded images"]
    assert not cache.parent.exists()


def test_what_a_killed_download_has_left_goes_unless_somebody_makes_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path))
    left = tmp_path / ".pets.partial-abcdefgh"
    left.mkdir()
    (left / "half.tar.gz").write_bytes(bytes(100))
    seen = []

    def make(stage: Path) -> None:
        (stage / "whole").touch()
        left.mkdir()
        seen.append(cache_kinds(ShrinkConfig())[1].things)

    create_once(tmp_path / "pets", make)
    assert seen == [[]]  # while it is made nothing beside it is anybody else's
    left_behind = cache_kinds(ShrinkConfig())[1]
    assert [thing.name for thing in left_behind.spare] == ["unfinished pets"]
    freed(left_behind)
    assert not left.exists()
    assert (tmp_path / "pets" / "whole").exists()


# Beside others.

_UNTIL_TOLD = """
import sys
from pathlib import Path
from segmentation.data import dataset as decoded_splits
from segmentation.config.training import Config
from segmentation.runtime.device import choose_compute
from segmentation.workflows.session import TrainingSession, load_data, train_and_register
from segmentation.training.callbacks import StopTraining
from segmentation.data.sources import resolve_source
from segmentation.tracking.store import connect
class UntilTold:
    def on_fit_start(self, samples): pass
    def on_fit_end(self, result): pass
    def on_epoch_end(self, report):
        print("Epoch", flush=True)
        if Path(sys.argv[2]).exists():
            raise StopTraining("told to")
decoded_splits.IN_MEMORY = 0  # its pixels are read from the store, as those of large splits are
config = Config.from_options({"train_images": 12, "val_images": 6, "image_size": 32, "width": 4,
    "depth": 3, "epochs": 100000, "loader_workers": 1})
source = resolve_source(sys.argv[1])
connect()
compute = choose_compute(config.training)
data = load_data(config.data, source, lambda *_: None)
session = TrainingSession.of(compute, source, data, "")
print(train_and_register(config, session, [UntilTold()]).registered.uri)
"""


def test_a_training_that_runs_meanwhile_is_not_hurt(
    program: Program, pets: Path, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    command = (sys.executable, "-c", _UNTIL_TOLD, str(pets), str(told))
    process = program.start(*command, **OFTEN)
    try:
        for _ in range(3):  # by then it has kept a checkpoint
            read_until(process, "Epoch")
        (kept,) = (program.cache / "runs").glob("*/checkpoint")
        done = program.entry("shrink", versions=1, delete="true")
        assert done.returncode == 0, done.stderr
        assert "MiB: decoded images (1)" in done.stdout
        assert kept.exists()
        told.touch()
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode == 0, err
    mlflow.set_tracking_uri(program.store)
    assert load(out.splitlines()[-1]) is not None


@pytest.mark.slow
def test_what_lies_on_a_tracking_server_goes_there(
    program: Program, pets: Path, tmp_path: Path
) -> None:
    with tracking_server(tmp_path / "server") as server:
        options = flags(**TINY | {"epochs": "1"}, data=pets)
        store = {"MLFLOW_TRACKING_URI": server.uri}
        done = program.run(sys.executable, "-c", _TRAIN, "4", *options, **store)
        assert done.returncode == 0, done.stderr
        client = mlflow.MlflowClient(server.uri)
        champion = client.get_registered_model("pet-unet").aliases.get("champion")
        command = (sys.executable, "-m", "experiments.shrink", "--versions", "1")
        said = program.run(*command, **store)
        assert len(list(server.folder.rglob("*.pt2"))) == 4
        done = program.run(*command, "--delete", "true", **store)
        assert done.returncode == 0, done.stderr
        left = {int(v.version) for v in client.search_model_versions("name='pet-unet'")}
        assert left == {3, 4} | ({int(champion)} if champion else set())
        assert len(list(server.folder.rglob("*.pt2"))) == len(left)
        assert f"Nothing was deleted; {4 - len(left) + 1} can go" in said.stdout
        assert f"MiB: versions ({4 - len(left)}), decoded images (1)" in done.stdout
        mlflow.set_tracking_uri(server.uri)
        assert load("models:/pet-unet/3") is not None


def test_two_that_shrink_at_once_delete_everything_once(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETSEG_CACHE", str(program.cache))
    program.folder.mkdir()
    monkeypatch.chdir(program.folder)
    mlflow.set_tracking_uri(program.store)
    made = Runs(program.cache)
    for _ in range(30):
        made.keep(made.run("FINISHED"))
    command = (sys.executable, "-m", "experiments.shrink", "--delete", "true")
    processes = [program.start(*command) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    found = mlflow.MlflowClient(program.store).search_runs(["0"], "metrics.`shrink/deleted` >= 0")
    assert sum(run.data.metrics["shrink/deleted"] for run in found) == 30
    assert not list(made.folder.iterdir())
