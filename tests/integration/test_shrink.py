"""`shrink` on real stores: what it says, what goes, and all that stays."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest
from filelock import FileLock

from segmentation.config.fields import from_options
from segmentation.config.shrink import ShrinkConfig
from segmentation.tracking.retention import Item, find_items
from segmentation.tracking.runs.run_folder import RunFolder
from segmentation.tracking.summaries.studies import droppable
from segmentation.tracking.tags import FORMER, SETTINGS, STUDY_ID
from tests.helpers.programs import PROJECT, Program, good

DAY = 86400.0
LATER = 40 * DAY  # by then all that a test has made is old


class Store(Program):
    """A store and a cache of their own, with runs, versions and checkpoints as trainings leave."""

    def add_run(self, status: str = "FINISHED", settings: str = SETTINGS) -> str:
        run_id = str(self.client.create_run("0", tags={settings: "{}"}).info.run_id)
        if status != "RUNNING":
            self.client.set_terminated(run_id, status)
        return run_id

    def add_version(self, name: str = "pet-unet", model: str = "", **tags: str) -> str:
        """Log and register a model, or register `model` again; return that model's id."""
        if not self.client.search_registered_models(f"name='{name}'"):
            self.client.create_registered_model(name)
        run_id = self.client.get_logged_model(model).source_run_id if model else self.add_run()
        if not model:
            model = self.client.create_logged_model("0", "model", run_id).model_id
            weights = self.cache / "weights"
            weights.parent.mkdir(exist_ok=True)
            weights.write_bytes(bytes(20_000))
            self.client.log_model_artifact(model, str(weights))
            self.client.finalize_logged_model(model, "READY")
        told = {"run": run_id} | {key.replace("_", "."): value for key, value in tags.items()}
        source = f"models:/{model}"
        self.client.create_model_version(name, source, run_id, tags=told, model_id=model)
        return str(model)

    def trial(self, study: str) -> str:
        """Register the model of a trial; return its run's id."""
        run_id = str(self.client.get_logged_model(self.add_version(study_id=study)).source_run_id)
        for tag, value in {STUDY_ID: study, "stage": "search"}.items():
            self.client.set_tag(run_id, tag, value)
        return run_id

    def keep(self, run_id: str, unsent: bool = False) -> Path:
        """Write what the training of a run keeps on this machine."""
        folder = RunFolder(run_id)
        (folder.outbox / "00000001" if unsent else folder.path).mkdir(parents=True)
        folder.checkpoint.write_bytes(bytes(1000))
        folder.claim()
        return folder.path

    def find(self, later: float = LATER, **options: object) -> dict[str, Item]:
        config = from_options(ShrinkConfig, {key: str(value) for key, value in options.items()})
        items = find_items(config, time.time() + later)
        return {item.name: item for item in items if item.delete is not None}

    def names(self) -> set[str]:
        found = self.client.search_model_versions("")
        return {f"{version.name} version {version.version}" for version in found}


@pytest.fixture
def store(program: Program, client: mlflow.MlflowClient) -> Store:
    return Store(program.folder, program.cache)


def delete(items: dict[str, Item]) -> list[str]:
    return [name for name, item in items.items() if item.delete is not None and item.delete()]


def pet(*numbers: int) -> set[str]:
    return {f"pet-unet version {number}" for number in numbers}


def test_versions_beyond_the_newest_go_but_for_those_that_somebody_needs(store: Store) -> None:
    second = [store.add_version() for _ in range(6)][1]
    store.client.set_registered_model_alias("pet-unet", "mine", "1")
    store.add_version("elsewhere", second)  # registered twice
    store.add_version(study_id="7")  # pet-unet 7, of a search that may go on
    store.add_version(run="of another program")  # pet-unet 8
    assert set(store.find(versions=2)) == pet(3, 4)
    assert not store.find(versions="all")
    assert not store.find()  # 10 by default
    assert not store.find(later=29 * DAY, versions=1)
    found = store.find(versions=2)
    folder = Path(store.client.get_logged_model(second).artifact_location.removeprefix("file://"))
    assert found["pet-unet version 3"].size == 20_000
    store.client.set_registered_model_alias("pet-unet", "mine", "4")  # since it was found
    assert delete(found) == ["pet-unet version 3"]
    assert delete(found) == []
    assert store.names() == pet(1, 2, 4, 5, 6, 7, 8) | {"elsewhere version 1"}
    assert len(list(folder.parents[1].rglob("weights"))) == 7


#: How a store comes from one folder into another: where its database is then.
WAYS: dict[str, Callable[[Path, Path], Path]] = {
    "copied": lambda folder, target: shutil.copytree(folder, target) / "mlflow.db",
    "moved": lambda folder, target: folder.rename(target) / "mlflow.db",
    "database alone": lambda folder, _: Path(shutil.copy(folder / "mlflow.db", folder / "a.db")),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_nothing_goes_by_a_copied_or_moved_store(
    store: Store,
    tmp_path: Path,
    way: Callable[[Path, Path], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The addresses in it are those of the first one."""
    for _ in range(3):
        store.add_version()
    trial = store.trial("7")
    store.client.log_text(store.add_run(), "all that it needs", "checkpoint/latest")
    store.keep(store.add_run())
    assert len(store.find(versions=1)) == 4
    assert list(droppable("7", "pet-unet", {trial}, LATER)) == [trial]
    monkeypatch.chdir(tmp_path)
    database = way(store.folder, tmp_path / "other")
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    assert not store.find(versions=1)
    assert not droppable("7", "pet-unet", {trial}, 0)


def test_a_model_of_which_no_version_is_known_only_its_search_drops(store: Store) -> None:
    """It may be registered in another registry."""
    trial = store.trial("7")
    before = time.time() - 60
    store.client.delete_registered_model("pet-unet")
    assert not droppable("7", "pet-unet", {trial}, time.time() + 60)
    assert list(droppable("7", "pet-unet", {trial}, before)) == [trial]


def test_a_checkpoint_goes_only_when_nobody_can_want_it(store: Store) -> None:
    deleted = store.add_run("FAILED")
    store.client.delete_run(deleted)
    go = [store.keep(store.add_run(status)) for status in ("FINISHED", "KILLED", "FAILED")]
    go += [store.keep(deleted)]
    stay = [store.keep(store.add_run("RUNNING")), store.keep(store.add_run(), unsent=True)]
    stay += [store.keep("0" * 32), store.keep(store.add_run())]  # of no run that is known here
    (stay[-1] / "store").write_text("another")
    names = {f"checkpoint of run {folder.name}" for folder in go}
    assert set(store.find()) == names
    assert not store.find(checkpoints="false")
    assert not store.find(later=29 * DAY)
    found = store.find()
    with FileLock(go[0] / "lock"):  # as whoever writes a run holds it
        assert set(delete(found)) == names - {f"checkpoint of run {go[0].name}"}
    assert [folder.exists() for folder in go] == [True, False, False, False]
    assert all((folder / "checkpoint").stat().st_size == 1000 for folder in stay)


@pytest.mark.parametrize("settings", [SETTINGS, FORMER[SETTINGS]])
def test_an_uploaded_checkpoint_goes_with_the_same_rules(store: Store, settings: str) -> None:
    ended, alive = store.add_run("KILLED", settings), store.add_run("RUNNING", settings)
    for run_id in (ended, alive):
        store.client.log_text(run_id, "all that it needs", "checkpoint/latest")
    store.client.log_text(ended, "a picture", "val/worst.jpg")
    assert not store.find(later=0)
    found = store.find()
    assert list(found) == [f"uploaded checkpoint of run {ended}"]
    assert delete(found) == list(found)
    assert [item.path for item in store.client.list_artifacts(ended)] == ["val"]
    assert [item.path for item in store.client.list_artifacts(alive)] == ["checkpoint"]


def test_of_the_cache_only_what_this_program_has_made_goes(store: Store) -> None:
    decoded = store.cache / "decoded"
    (decoded / "32").mkdir(parents=True)
    mine = [decoded / "32" / f"{'a' * 64}.npz", decoded / "48.sqlite", decoded / "48.users"]
    others = [decoded / "notes.npz", decoded / "32" / "notes.npz", decoded / "48.sqlite.bak"]
    for path in (*mine, *others):
        path.write_bytes(bytes(100))
    assert not store.find(caches="false")
    assert not store.find(later=0)
    found = store.find()
    sizes = {name: item.size for name, item in found.items()}
    assert sizes == {"decoded long ago": 300}
    assert delete(found) == ["decoded long ago"]
    assert all(path.exists() for path in others)
    assert not any(path.exists() for path in mine)


def test_links_are_never_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    kept = store.keep(store.add_run())
    shutil.move(kept, outside)
    kept.symlink_to(outside)
    other = store.keep(store.add_run())
    (other / "deeper").symlink_to(outside)
    (outside / "32").mkdir()
    (outside / "32" / f"{'a' * 64}.npz").write_bytes(bytes(100))
    decoded = store.cache / "decoded"
    decoded.mkdir()
    (decoded / "32").symlink_to(outside / "32")
    assert delete(store.find()) == [f"checkpoint of run {other.name}"]
    assert (outside / "checkpoint").exists()
    assert list((outside / "32").iterdir())


def test_it_says_what_can_go_and_deletes_it_when_asked(store: Store) -> None:
    for _ in range(3):
        store.add_version()
    store.keep(store.add_run())
    with sqlite3.connect(store.folder / "mlflow.db") as database:
        database.execute("UPDATE model_versions SET creation_time = creation_time - 3000000000")
        database.execute("UPDATE runs SET end_time = end_time - 3000000000")
    database.close()
    for path in (store.cache / "runs").rglob("*"):
        os.utime(path, (time.time() - LATER,) * 2)
    done = good(store.entry("shrink", versions="1"))
    lines = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert [lines["versions"][1], lines["versions"][3]] == ["3", "2"]
    assert [lines["checkpoints"][1], lines["checkpoints"][3]] == ["1", "1"]
    assert "Nothing was deleted; 3 can go, " in done.stdout
    again = f"mlflow run {PROJECT} -e shrink --env-manager local -P versions=1 -P delete=true"
    assert f"Next:  {again}" in done.stdout.splitlines()
    assert store.names() == pet(1, 2, 3)
    done = store.entry("shrink", versions="1", delete="true")
    assert "Deleted 3 of 3, " in done.stdout
    assert "Next:" not in done.stdout
    assert store.names() == pet(3)
    own = store.client.search_runs(["0"], "attributes.run_name = 'shrink'")[0]
    assert own.data.metrics["shrink/deleted"] == 3
    assert "- pet-unet version 1" in own.data.tags["mlflow.note.content"]
