"""`import segmentation`: what the commands do, for a notebook."""

import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812  # as its users call it
import mlflow
import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import segmentation
from segmentation.errors import DataError
from segmentation.tracking.registry.photo_model import read_photo
from segmentation.training.trainer import Trainer
from segmentation.utils.concurrency import ProgressBar
from tests.helpers.home import Home
from tests.helpers.in_process import isolated
from tests.helpers.programs import DISCS, Program, documented

SHORT: dict[str, Any] = {**DISCS, "epochs": 3}


@pytest.fixture
def work(program: Program) -> Iterator[Program]:
    """Stand where a notebook is, in a folder and a store of the test's own."""
    program.folder.mkdir()
    with isolated(program.folder, program.environment()):
        yield program


@pytest.fixture
def at_home(home: Home) -> Iterator[Home]:
    with isolated(home.folder, home.environment()):
        yield home


class Steps(segmentation.Callback):
    def __init__(self, stop: bool = False) -> None:
        self.epochs, self._stop = 0, stop

    def on_epoch_end(self, trainer: Trainer, metrics: Mapping[str, float]) -> None:
        self.epochs += 1
        if self._stop:
            os.kill(os.getpid(), signal.SIGINT)


def test_the_file_of_a_run_of_the_command_line_trains_the_same_to_the_last_digit(
    work: Program, home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is given wins; the rest, the data included, is the earlier run's."""
    steps, kept = Steps(), home.artifact("config.yaml")
    torch.set_default_dtype(torch.float64)  # of what else there is in a notebook
    with torch.no_grad(), torch.device("meta"):
        found = segmentation.train(config=kept, model_name="again", callbacks=[steps])
        assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float64, False)
    torch.set_default_dtype(torch.float32)
    run, there = work.the_run, home.training.data.metrics
    assert (found.run_id, run.info.status, steps.epochs) == (run.info.run_id, "FINISHED", 14)
    assert run.data.params == {**home.training.data.params, "model_name": "again"}
    figures = [there[f"best/{name}"] for name in ("dice", "dice_low", "dice_high")]
    assert [found.dice, *found.interval] == figures
    assert found.baselines == {"foreground": there["floor/dice_all_pet"], "background": 0.0}
    assert found.model_uri == "models:/again/1"
    assert found.show().width > found.show("val/worst.jpg").width / 10
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == home.out.splitlines()[0]
    assert re.search(r"^Epoch 14/14  loss .* images/s  after \d+ s$", told.out, re.M)
    assert mlflow.active_run() is None


def test_an_active_run_is_used_and_left_to_who_began_it_and_a_second_work_is_nested(
    work: Program, discs: Path
) -> None:
    with mlflow.start_run(run_name="mine") as mine:
        found = segmentation.train(data=discs, **SHORT)
        judged = segmentation.evaluate(found.model_uri, data=discs, split="gate")
        active = mlflow.active_run()
        assert active
        assert active.info.run_id == mine.info.run_id == found.run_id
    client = work.client
    run, nested = client.get_run(found.run_id), client.get_run(judged.run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "mine")
    assert run.data.metrics["best/dice"] == found.dice
    assert nested.data.tags["mlflow.parentRunId"] == found.run_id
    assert nested.data.metrics["gate/dice"] == judged.dice
    assert len(client.search_runs(["0"])) == 2


@pytest.mark.parametrize("active", [False, True])
def test_an_interrupt_stops_as_ctrl_c_does_and_resume_goes_on(
    work: Program, discs: Path, capsys: pytest.CaptureFixture[str], active: bool
) -> None:
    if active:
        mlflow.start_run()
    handlers = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    options: dict[str, Any] = {**SHORT, "augmentation": A.Compose([A.Transpose()])}
    del options["augment"]
    with pytest.raises(KeyboardInterrupt):
        segmentation.train(data=discs, **options, callbacks=[Steps(stop=True)])
    assert handlers == [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    if active:
        mlflow.end_run()  # which calls it FINISHED
    run = work.the_run
    assert run.info.status == ("FINISHED" if active else "KILLED")
    assert f"-P resume={run.info.run_id}" in capsys.readouterr().out
    steps, given = Steps(), {}
    (pipeline,) = (work.cache / "augmentations").iterdir()
    moved = pipeline.rename(work.folder / "moved.json")
    if active:  # else the run's own is taken
        given["augment"] = moved
    found = segmentation.train(resume=run.info.run_id, callbacks=[steps], **given)
    assert (found.run_id, steps.epochs) == (run.info.run_id, 2)
    with pytest.raises(segmentation.ConfigError, match="that training came to its end"):
        segmentation.train(resume=run.info.run_id)


def test_an_interrupt_while_a_budget_is_measured_leaves_no_process_though_the_error_is_kept(
    work: Program, discs: Path
) -> None:
    def interrupt() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.1)
        time.sleep(0.5)  # now its first batch is waited for
        os.kill(os.getpid(), signal.SIGINT)

    options: dict[str, Any] = {**DISCS, "data": discs, "budget": "60s", "loader_workers": 1}
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt) as kept:
        segmentation.train(**options)
    assert not multiprocessing.active_children()
    del kept


def test_memory_that_is_freed_afterwards_goes_back_to_the_system(at_home: Home) -> None:
    segmentation.load_model()
    process = psutil.Process()
    before = process.memory_info().rss
    array = np.ones(2**25)  # 256 MiB
    assert process.memory_info().rss > before + array.nbytes / 2
    del array
    assert process.memory_info().rss < before + 2**26


def test_a_pipeline_of_albumentations_augments_and_is_kept_with_the_run(
    work: Program, discs: Path
) -> None:
    pipeline = A.Compose([A.Transpose(p=0.5), A.GaussNoise(p=1)])
    options = {key: value for key, value in SHORT.items() if key != "augment"}
    one = segmentation.train(data=discs, **options, augmentation=pipeline)
    kept, config = (work.download(one.run_id, name) for name in ("augment.json", "config.yaml"))
    assert A.load(kept).to_dict() == pipeline.to_dict()
    dice: list[float] = []

    def train() -> None:
        """In another thread, which hears no signals."""
        dice.append(segmentation.train(config=config, augment=kept, loader_workers=2).dice)
        shutil.rmtree(work.cache / "augmentations")
        dice.append(segmentation.train(like=one.run_id).dice)
        dice.append(segmentation.train(config=config, augment="none").dice)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert [other == one.dice for other in dice] == [True, True, False]


def test_the_documented_callback_stops_and_a_class_of_ones_own_augments_but_comes_from_no_file(
    work: Program, discs: Path
) -> None:
    names: dict[str, Any] = {"segmentation": segmentation, "__name__": "notebook"}
    for beginning in ("class Stop", "class Defocus"):
        exec(documented("python.md", beginning), names)  # noqa: S102
    given: dict[str, Any] = {**SHORT, "data": discs, "augmentation": names["pipeline"]}
    del given["augment"]
    found = segmentation.train(**given | {"epochs": 14}, callbacks=[names["Stop"]()])
    assert found.dice > 0.9
    assert len(work.client.get_metric_history(found.run_id, "val/dice")) < 14
    with pytest.raises(segmentation.ConfigError, match=r"loader_workers=2: .* notebook\.Defocus"):
        segmentation.train(**given, loader_workers=2)
    refused = r"augment=.*: has notebook\.Defocus; expected transforms of Albumentations' own"
    with pytest.raises(segmentation.ConfigError, match=refused):
        segmentation.tune(**given | {"width": [2, 4]})
    del given["augmentation"]
    with pytest.raises(segmentation.ConfigError, match=refused):
        segmentation.train(**given, augment=work.download(found.run_id, "augment.json"))


def test_masks_are_the_same_of_a_path_a_folder_and_an_array(
    at_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    photo = sorted((at_home.data / "images").iterdir())[3]
    one = segmentation.predict(photo, "models:/pet-unet/1")
    assert isinstance(one, segmentation.Prediction)
    pixels = read_photo(photo.read_bytes())
    model = segmentation.load_model()
    assert one.mask.shape == pixels.shape[:2]
    assert np.array_equal(one.mask, model(pixels) > at_home.threshold)
    other = segmentation.predict(Image.fromarray(pixels), model)  # type: ignore[arg-type]  # as good as an array
    assert isinstance(other, segmentation.Prediction)
    assert np.array_equal(other.mask, one.mask)
    assert one.show().size == other.show().size == pixels.shape[1::-1]
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(folder / name)
    all_of_them = segmentation.predict(folder, model, output="~/out", threshold=0.99)
    assert isinstance(all_of_them, list)
    assert [photo.photo for photo in all_of_them] == [folder / "a.png", folder / "b.png"]
    assert np.array_equal(all_of_them[0].mask, model(pixels) > 0.99)
    assert (tmp_path / "out" / "masks" / "b.png").read_bytes() == all_of_them[1].png
    with os.scandir(folder) as entries:
        for entry in entries:
            assert isinstance(segmentation.predict(entry, model), segmentation.Prediction)


@pytest.mark.parametrize("kept", [False, True])
def test_photos_of_a_folder_that_cannot_be_used_are_named_and_the_others_are_done(
    at_home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: bool
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for name in ("bad.png", "worse.jpg"):
        (album / name).write_bytes(b"no picture")
    output: dict[str, Any] = {"output": tmp_path / "out"} if kept else {}
    with pytest.raises(DataError, match=r"no photo could be used:\n  bad.png .*\n  worse.jpg "):
        segmentation.predict(album, **output)
    photo = sorted((at_home.data / "images").iterdir())[3]
    good = shutil.copy(photo, album / "c.jpg")
    found = segmentation.predict(album, **output, overwrite=True)
    assert isinstance(found, list)
    assert [one.photo for one in found] == [good]
    said = capsys.readouterr().out
    assert "Left out: bad.png " in said
    assert "Left out: worse.jpg " in said
    assert "2 of 3 photos are left out" in said


def test_a_bar_ends_where_a_budget_ends_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel.kernelapp", sys)  # as in a notebook
    bar = ProgressBar("Epoch")
    for done, total in ((1, 2), (2, 3), (3, 3)):
        bar(done, total)
    assert "3/3" in capsys.readouterr().err


def test_an_evaluation_tells_what_its_run_does(at_home: Home) -> None:
    found = segmentation.evaluate(data=at_home.data, split="test", device="cpu")
    figures = at_home.client.get_run(found.run_id).data.metrics
    assert (found.dice, found.interval[0]) == (figures["test/dice"], figures["test/dice_low"])
    assert found.baselines == {"foreground": figures["test/floor_dice"]}
    assert found.model_uri == "models:/pet-unet@champion"
    assert found.show().height > 100


def test_a_data_set_is_prepared_and_trained_on(work: Program, own_pets: Path) -> None:
    assert segmentation.prepare(own_pets) == own_pets
    assert work.the_run.info.status == "FINISHED"


@pytest.mark.slow
def test_a_search_tells_its_winner(work: Program, discs: Path) -> None:
    quick = {**DISCS, "epochs": 3, "trials": 2, "trial_epochs": 2, "workers": 1}
    A.save(A.Compose([A.Transpose()]), work.folder / "own.json")
    quick |= {"width": [2, 4], "confirm": 0, "study": "small"}
    segmentation.tune(data=discs, **quick | {"augment": ["own.json", "none"]})
    (work.folder / "own.json").rename(work.folder / "moved.json")
    quick |= {"trials": 3, "augment": [f"{work.folder}/moved.json", "none"]}
    found = segmentation.tune(data=discs, **quick)  # the same content, so the same study
    for trial in work.runs(stage="search"):
        kept = [one.path for one in work.client.list_artifacts(trial.info.run_id)]
        assert ("augment.json" in kept) == (trial.data.params["augment"] != "none")
    A.save(A.Compose([A.Blur()]), work.folder / "moved.json")
    with pytest.raises(segmentation.ConfigError, match="study=small was begun with other settings"):
        segmentation.tune(data=discs, **quick)
    study = work.client.get_run(found.run_id)
    told = study.data.tags["mlflow.note.content"]
    assert f"{work.folder}/moved.json" in told.partition("Leaders of the search")[2]
    assert study.data.params["width"] == "2,4"
    assert found.dice == pytest.approx(study.data.metrics["best/dice"])
    assert found.model_uri in ("models:/pet-unet/1", "models:/pet-unet/2")
    assert found.show().width > 300


def test_mistakes_are_the_projects_errors_and_begin_nothing(work: Program, discs: Path) -> None:
    (work.folder / "a.yaml").write_text("model_name: 2026\nwidth: 0\n")
    blur, unsaved = A.Compose([A.Blur()]), A.Compose([A.Lambda(image=print)])
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (segmentation.train, {"learning_rate": 1}, "train: no .* learning_rate .did you mean lr"),
        (segmentation.train, {"processes": 2}, "train: no setting is called processes"),
        (segmentation.tune, {"epoch": 1}, "tune: no .* epoch .did you mean epochs"),
        (segmentation.predict, {"overlay": True}, "predict: .* overlay .did you mean overlays"),
        (segmentation.train, {"width": 0}, "width=0: expected a whole number"),
        (segmentation.train, {"config": "a.yaml"}, "width=0: expected"),
        (segmentation.tune, {"model_name": 5, "width": "8..x"}, "width=8..x: expected"),
        (segmentation.train, {"budget": "soon"}, "budget=soon: expected such as 90s"),
        (segmentation.train, {"like": 7}, "like=7: "),
        (segmentation.train, {"resume": 5}, "run '5': expected 32 digits"),
        (segmentation.train, {"augmentation": unsaved}, "augmentation: .*; expected transf"),
        (segmentation.train, {"augmentation": blur, "augment": "none"}, "each says how to augment"),
        (segmentation.train, {"data": "nowhere"}, "there is no such folder"),
        (segmentation.evaluate, {"split": "all"}, "split=all: expected one of test, gate"),
        (
            segmentation.predict,
            {"photos": np.zeros((2, 2))},
            r"photos: float64 \(2, 2\); expected a",
        ),
        (segmentation.predict, {"photos": discs, "threshold": "1.5"}, "threshold=1.5: expected a"),
        (segmentation.predict, {"photos": discs, "output": 5, "threshold": 0}, "threshold=0: "),
        (segmentation.predict, {"photos": "none.jpg"}, "none.jpg: there is no such file or folder"),
        (segmentation.predict, {}, "photos: expected a path"),
        (segmentation.prepare, {"data": 5}, "5: there is no such folder"),
        (segmentation.load_model, {"uri": "pets"}, "did you mean models:/pets@champion"),
    ]
    for call, given, said in cases:
        with pytest.raises(segmentation.PetsegError, match=said):
            call(**given)
    with pytest.raises(AttributeError, match="has no attribute 'fit'"):
        _ = segmentation.fit
    assert work.runs() == []
