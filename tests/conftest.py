"""What the tests share: a small drawn data set, a cache folder and a store of their own."""

import gc
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock
from sqlalchemy import Engine

# Before PyTorch is imported. Each of several test processes, and what they start:
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import torch
from mlflow.store.db import utils as tables

from segmentation.data.example import Example
from segmentation.data.images.examples import DecodedExample, decode
from segmentation.data.synthetic import write_dataset
from segmentation.tracking.store import _create_database
from tests.helpers.discs import write_discs
from tests.helpers.home import Home
from tests.helpers.programs import PRETRAINED, STARTED, Program, good
from tests.helpers.quick import Data, loaded
from tests.helpers.stopped import OFTEN, SHORT, Ended, ended

gc.set_threshold(100_000, 20, 50)  # as the programs do: see experiments/console.py

Make = Callable[[Path], object]


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PETSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Make], Path]:
    """Returns a folder of this name, which one of the test processes has made for all."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def share(name: str, make: Make) -> Path:
        folder, made = root / name, root / f"{name} is made"
        with FileLock(root / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failure left
                make(folder)
                made.touch()
        return folder

    return share


@pytest.fixture(scope="session", autouse=True)
def quick_stores(shared: Callable[[str, Make], Path]) -> Iterator[None]:
    """MLflow makes the tables of a store once in a test run, in seconds: other stores copy them."""
    upgrade = tables._upgrade_db  # the longest part of making them

    def make(folder: Path) -> None:
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "_upgrade_db", upgrade)
            _create_database(folder / "mlflow.db")

    def copy(engine: Engine) -> None:
        source = closing(sqlite3.connect(shared("tables", make) / "mlflow.db"))
        with source as made, closing(engine.raw_connection()) as new:
            made.backup(new.driver_connection)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_upgrade_db", copy)
        yield


@pytest.fixture(scope="session")
def pets(shared: Callable[[str, Make], Path]) -> Path:
    """A drawn data set of 40 + 10 pets; not to be changed."""
    return shared("pets", lambda folder: write_dataset(folder, 40, 10, seed=7))


@pytest.fixture(scope="session")
def data(pets: Path) -> Data:
    """Some of them, decoded to 32 pixels."""
    return loaded(pets)


@pytest.fixture(scope="session")
def discs(shared: Callable[[str, Make], Path]) -> Path:
    """A data set of 170 + 20 bright discs, learned within seconds; not to be changed."""
    return shared("discs", lambda folder: write_discs(folder, 170, 20, seed=1))


@pytest.fixture(scope="session")
def home(shared: Callable[[str, Make], Path], discs: Path) -> Home:
    """Where a good model of discs is version 1 of `pet-unet` and its champion.

    One short training for all tests; they may add runs, and change nothing that they did not make.
    """
    return Home.at(shared("home", lambda folder: Home.make(folder, discs)), discs)


@pytest.fixture(scope="session")
def pretrained_home(shared: Callable[[str, Make], Path], discs: Path) -> Home:
    """The same with a pretrained encoder; other tests train there, too."""
    made = shared("pretrained", lambda folder: Home.make(folder, discs, PRETRAINED))
    return Home.at(made, discs)


@pytest.fixture(scope="session")
def whole(shared: Callable[[str, Make], Path], pets: Path) -> Ended:
    """What a training leaves that was never stopped."""

    def make(folder: Path) -> None:
        good(Program.under(folder).entry("train", **OFTEN, **SHORT, data=pets))

    program = Program.under(shared("whole", make))
    assert not list((program.cache / "runs").glob("*"))
    return ended(program)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """A test draws the same, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """What a test has started ends with it."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


@pytest.fixture
def own_pets(tmp_path: Path, pets: Path) -> Path:
    """A copy of the drawn pets, which a test may break."""
    return shutil.copytree(pets, tmp_path / "own pets")  # a space, as users have them


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Runs entry points in a working folder, cache and store of the test's own."""
    return Program.under(tmp_path)


@pytest.fixture
def client(program: Program, monkeypatch: pytest.MonkeyPatch) -> mlflow.MlflowClient:
    """A client of the store of `program`, which this process uses by default, too."""
    program.folder.mkdir()
    monkeypatch.chdir(program.folder)  # where MLflow makes the folder for artifacts
    monkeypatch.setenv("PETSEG_CACHE", str(program.cache))
    mlflow.set_tracking_uri(program.store)
    return program.client


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the decoded images of 32 pixels, in an empty cache of the test's own."""
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded" / "32"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the examples that were decoded from their files, as they are."""
    names: list[str] = []

    def noted(example: Example, image: bytes, trimap: bytes) -> DecodedExample:
        names.append(example.id)
        return decode(example, image, trimap)

    monkeypatch.setattr("segmentation.data.cache.decode", noted)
    return names
