"""`train` with `like`: the same training again, what overrides it, what is said of differences."""

import dataclasses
import os
import re
from pathlib import Path

import mlflow
import pytest
import torch
from mlflow.entities import Run

from segmentation.errors import ConfigError, DataError
from segmentation.tracking.runs.logged_settings import EARLIER
from segmentation.tracking.runs.rerun import LoggedTraining
from tests.helpers.own_images import make
from tests.helpers.programs import TINY, Program, good, opened_by_launcher

#: Of the earlier run; none of them is train's default.
OWN = {"lr": "1e-3", "seed": "5", "ema": "0.9"}


@dataclasses.dataclass(frozen=True)
class Lab(Program):
    """A store with a finished training, and programs that use it."""

    earlier: Run
    id: str

    def log(self, **changed: str | None) -> str:
        """Log the finished training, but for some settings, as an earlier version did."""
        run_id = self.client.create_run("0", run_name="logged").info.run_id
        changes = {name.replace("__", "."): value for name, value in changed.items()}
        params = self.earlier.data.params
        logged = {old: params[name] for name, old in EARLIER.items() if name in params}
        for name, value in {**dict.fromkeys(EARLIER, "''"), **logged, **changes}.items():
            if value is not None:
                self.client.log_param(run_id, name, value)
        return str(run_id)

    def find(self, run_id: str) -> LoggedTraining:
        mlflow.set_tracking_uri(self.store)
        return LoggedTraining(run_id)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, pets: Path) -> Lab:
    folder = tmp_path_factory.mktemp("like")
    program = Program.under(folder)
    good(program.entry("train", **TINY, **OWN, data=pets, model_name="mine"))
    return Lab.under(folder, program.the_run, program.the_run.info.run_id)


def test_a_run_is_repeated_to_the_last_digit_whatever_the_loader_workers(lab: Lab) -> None:
    done = good(lab.entry("train", like=lab.id, loader_workers="2"))
    again, earlier = lab.runs()[0], lab.earlier
    assert again.data.tags["like"] == lab.id
    assert again.data.params == {**earlier.data.params, "loader_workers": "2"}
    for name in earlier.data.metrics:
        if "second" not in name and not name.startswith("system"):
            was, now = (
                [(point.step, point.value) for point in lab.client.get_metric_history(run, name)]
                for run in (lab.id, again.info.run_id)
            )
            assert now == was, name
    lines = done.stdout.splitlines()
    dice = earlier.data.metrics["best/dice"]
    name = f"train {dice:.4f} w4 lr0.001 seed5 3ep pets-12 d3 32px"
    assert lines[0].startswith(f"Like {lab.id}: the settings of {name}")
    assert f"Like {lab.id}: best/dice {dice!r} again, equal to the last digit" in lines
    assert f"Like {lab.id}: the same: train images, val images, " in done.stdout
    assert "differs" not in done.stdout


def test_what_is_given_overrides_and_other_data_are_told(lab: Lab, own_pets: Path) -> None:
    names = own_pets / "annotations" / "trainval.txt"
    names.write_text("".join(names.read_text().splitlines(keepends=True)[5:]))
    done = good(lab.entry("train", like=lab.id, data=own_pets, lr="0.004", epochs="2"))
    params = {**lab.earlier.data.params, "data": str(own_pets)}
    assert lab.runs()[0].data.params == {**params, "lr": "0.004", "epochs": "2"}
    assert "epochs=2 (it had 3), lr=0.004 (it had 0.001)" in done.stdout.splitlines()[0]
    assert f"Like {lab.id}: differs: train images " in done.stdout
    dice = lab.earlier.data.metrics["best/dice"], lab.runs()[0].data.metrics["best/dice"]
    assert f"Like {lab.id}: best/dice {dice[0]!r} there, {dice[1]!r} here (" in done.stdout


def test_what_the_launcher_logged_as_typed_is_repeated_as_it_was_used(lab: Lab, pets: Path) -> None:
    opened = opened_by_launcher(lab.client)
    typed = {"epochs": "9", "budget": "1s", "precision": "auto"}
    typed |= {"data": os.path.relpath(pets, lab.folder), "val_images": "all"}
    for name, value in typed.items():
        lab.client.log_param(opened, name, value)
    done = good(lab.entry("train", MLFLOW_RUN_ID=opened, **TINY | typed))
    run = lab.client.get_run(opened)
    assert run.data.params == {**run.data.params, **typed}
    assert set(run.data.params) == {*lab.earlier.data.params, "budget"}
    settings, _ = lab.find(opened).settings({})
    used = (*re.findall(r"^Budget: (\d+)", done.stdout, re.M), run.data.tags["amp"].split(" ")[0])
    assert (settings["epochs"], settings["precision"]) == used
    assert (Path(settings["data"]).resolve(), settings["val_images"]) == (pets, "all")


def test_what_is_no_training_that_is_there_is_refused(lab: Lab) -> None:
    absent, deleted, search = "0" * 32, lab.log(), lab.log(trials="20")
    lab.client.delete_run(deleted)
    for like, reason in (
        (absent, "the tracking store has no such run; "),
        (deleted, "the run logged was deleted"),
        (search, "the run logged is no training"),
        (lab.log(model__name=None, model_name=None), "the run logged is no training"),
    ):
        told = lab.refused(2, "train", like=like)
        assert told.startswith(f"Error: like={like}: {reason}")


def test_what_an_old_run_lacks_is_told_and_taken_from_the_defaults(lab: Lab) -> None:
    old = lab.find(lab.log(model__patch=None, training__of_old="7"))
    settings, lines = old.settings({})
    assert settings == {**lab.find(lab.id).settings({})[0], "patch": 2}
    assert lines[1:] == [f"Like {old.id}: it has logged no patch; train's default is taken: 2"]
    assert len(old.settings({"patch": 1})[1]) == 1
    told = old.compare(0.5)
    assert told == f"Like {old.id}: it has no best/dice to compare with (it is RUNNING)"


def test_a_device_that_is_not_here_is_said(lab: Lab) -> None:
    device = "mps" if torch.cuda.is_available() else "cuda"
    other = lab.find(lab.log(training__device=device, training__precision="fp16"))
    with pytest.raises(
        ConfigError, match=rf"device={device}: PyTorch .*taken from like={other.id}"
    ):
        other.settings({})
    with pytest.raises(ConfigError, match="precision=fp16: needs a CUDA GPU"):
        other.settings({"device": "cpu"})
    settings, _ = other.settings({"device": "cpu", "precision": "auto"})
    assert (settings["device"], settings["precision"]) == ("cpu", "auto")


def test_settings_that_do_not_fit_and_data_that_are_gone_are_told_with_their_origin(
    lab: Lab, tmp_path: Path
) -> None:
    gone = lab.find(lab.log(data__source="/nowhere/pets", model__name="pet-unet-synthetic"))
    with pytest.raises(DataError, match=f"/nowhere/pets: .*the data of like={gone.id}"):
        gone.settings({})
    with pytest.raises(ConfigError, match=rf"depth=8: .*taken from like={gone.id}"):
        gone.settings({"depth": 8, "data": "synthetic"})
    (tmp_path / "link").symlink_to(lab.earlier.data.params["data"])
    assert "but" not in lab.find(lab.id).settings({"data": f"{tmp_path}/link/"})[1][0]
    # What is of the layout of its data is left out with other data.
    run = lab.find(lab.log(data__foreground="1", data__border="ignore"))
    for data, left in (("synthetic", ("auto", "ignore")), (make(tmp_path / "own"), ("1", "pet"))):
        settings = run.settings({"data": str(data)})[0]
        assert (settings["foreground"], settings["border"]) == left
    # The usual name follows the data.
    assert gone.settings({"data": "somewhere"})[0]["model_name"] == ""
    assert lab.find(lab.id).settings({"data": "somewhere"})[0]["model_name"] == "mine"
