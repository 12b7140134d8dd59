"""A training that was stopped, and what it takes to go on with it."""

import re
import signal
from pathlib import Path

import mlflow

from tests.helpers.programs import PROJECT, Program, good, opened_by_launcher
from tests.helpers.stopped import SHORT, ended, interrupt, kept_epoch


def stop(
    program: Program, data: Path, kind: signal.Signals = signal.SIGINT, **options: object
) -> tuple[str, str]:
    """Stop a training after a checkpoint; return the id of its run, and what it printed."""
    kept = program.cache / "runs" / "*" / "checkpoint"
    done = interrupt(program, "train", kept, {**SHORT, "data": data, **options}, kind)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: stopped by Ctrl-C or SIGTERM")
    assert len(done.stderr.splitlines()) == 1
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    return str(run.info.run_id), done.stdout


def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(
    program: Program, pets: Path, tmp_path: Path
) -> None:
    run_id, out = stop(program, pets, loader_workers=1)  # which changes nothing
    client = mlflow.MlflowClient(program.store)
    stopped = client.get_run(run_id)
    assert stopped.info.status == "KILLED"
    go_on = f"mlflow run {PROJECT} -e train --env-manager local -P resume={run_id}"
    assert f"Go on: {go_on}" in out.splitlines()
    described = stopped.data.tags["mlflow.note.content"]
    assert described.startswith("stopped by Ctrl-C, SIGTERM or SIGHUP\n")
    assert go_on in described.splitlines()
    kept = program.cache / "runs" / run_id / "checkpoint"
    assert kept_epoch(kept) >= 1
    sent = Path(client.download_artifacts(run_id, "checkpoint/latest", str(program.folder)))
    assert sent.read_bytes() == kept.read_bytes()
    kept.unlink()  # another machine has nothing but the store
    done = good(program.entry("train", resume=run_id))
    assert re.search(r"Going on with train w4 .*: \d+ epochs of it are over", done.stdout)
    assert "checkpoint" not in [item.path for item in client.list_artifacts(run_id)]
    whole = Program(tmp_path / "whole", tmp_path / "cache of it")
    assert whole.entry("train", **SHORT, data=pets).returncode == 0
    assert client.get_run(run_id).data.tags["mlflow.note.content"].startswith("**Dice")
    ended(program.store).require_same(ended(whole.store))


def test_other_images_are_refused_and_the_own_ones_go_on_wherever_they_are(
    program: Program, own_pets: Path, tmp_path: Path
) -> None:
    run_id, _ = stop(program, own_pets, signal.SIGTERM)
    client = mlflow.MlflowClient(program.store)
    client.set_tag(run_id, "failure", "it was left RUNNING")
    client.set_terminated(run_id, "FAILED")
    before = {file: file.read_bytes() for file in (own_pets / "images").iterdir()}
    for file, content in before.items():  # a byte behind the end changes no pixel, but the file
        file.write_bytes(content + b"\n")
    refused = program.entry("train", resume=run_id)
    assert refused.returncode == 1
    assert "is of another training: " in refused.stderr
    assert "train images '" in refused.stderr
    assert client.get_run(run_id).info.status == "FAILED"
    kept = program.cache / "runs" / run_id
    aside = kept.rename(tmp_path / "kept")  # as where none was kept, and none was sent
    (Path(str(client.get_run(run_id).info.artifact_uri)) / "checkpoint").rename(tmp_path / "sent")
    refused = program.entry("train", resume=run_id)
    assert refused.returncode == 1
    assert f"resume={run_id}: the val images and train images are not those" in refused.stderr
    aside.rename(kept)
    for file, content in before.items():
        file.write_bytes(content)
    moved = own_pets.rename(tmp_path / "moved")
    gone = program.entry("train", resume=run_id)
    assert gone.returncode == 1
    assert f"this is the data of resume={run_id}: if it lies elsewhere now, give" in gone.stderr
    other = program.entry("train", resume=run_id, data=moved, lr="0.02", width="4")
    assert other.returncode == 2
    assert "other settings: lr=0.02 (it was begun with 0.01); leave" in other.stderr
    (tmp_path / "link").symlink_to(moved)
    same = {"lr": "0.010", "model_name": "pet-unet", "device": "cpu", "data": f"{tmp_path}/link/"}
    opened = opened_by_launcher(client)  # as for every command
    good(program.entry_with("train", {"MLFLOW_RUN_ID": opened}, resume=run_id, **same))
    assert client.get_run(opened).data.tags["mlflow.parentRunId"] == run_id
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags  # what was said of an end that was none
    (version,) = client.search_model_versions("name='pet-unet'")
    assert version.run_id == run_id
