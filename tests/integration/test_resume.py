"""A training that was stopped, and what it takes to go on with it."""

import multiprocessing
import re
import signal
from pathlib import Path

from tests.helpers.programs import PROJECT, Program, good, opened_by_launcher
from tests.helpers.stopped import SHORT, Ended, ended, interrupt, kept_epoch


def stop(
    program: Program, data: Path, kind: signal.Signals = signal.SIGINT, **options: object
) -> tuple[str, str]:
    """Stop a training after a checkpoint; return the id of its run, and what it printed."""
    kept = program.cache / "runs" / "*" / "checkpoint"
    done = interrupt(program, "train", kept, kind, **SHORT, data=data, **options)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: stopped by Ctrl-C or SIGTERM")
    assert len(done.stderr.splitlines()) == 1
    return str(program.the_run.info.run_id), done.stdout


def test_a_signal_saves_and_says_how_to_go_on(program: Program, whole: Ended, pets: Path) -> None:
    run_id, out = stop(program, pets, loader_workers=1)  # which changes nothing
    assert not multiprocessing.active_children()  # a notebook's process goes on
    client = program.client
    stopped = client.get_run(run_id)
    assert stopped.info.status == "KILLED"
    go_on = f"mlflow run {PROJECT} -e train --env-manager local -P resume={run_id}"
    assert f"Go on: {go_on}" in out.splitlines()
    described = stopped.data.tags["mlflow.note.content"]
    assert described.startswith("stopped by Ctrl-C, SIGTERM or SIGHUP\n")
    assert go_on in described.splitlines()
    kept = program.cache / "runs" / run_id / "checkpoint"
    assert kept_epoch(kept) >= 1
    sent = program.download(run_id, "checkpoint/latest")
    assert sent.read_bytes() == kept.read_bytes()
    kept.unlink()  # another machine has nothing but the store
    done = good(program.entry("train", resume=run_id))
    assert re.search(r"Going on with train w4 .*: \d+ epochs of it are over", done.stdout)
    assert "checkpoint" not in [item.path for item in client.list_artifacts(run_id)]
    assert client.get_run(run_id).data.tags["mlflow.note.content"].startswith("**Dice")
    ended(program).require_same(whole)


def test_other_images_are_refused_and_the_own_ones_go_on_wherever_they_are(
    program: Program, own_pets: Path, tmp_path: Path
) -> None:
    run_id, _ = stop(program, own_pets, signal.SIGTERM)
    client = program.client
    client.set_tag(run_id, "failure", "it was left RUNNING")
    client.set_terminated(run_id, "FAILED")
    before = {file: file.read_bytes() for file in (own_pets / "images").iterdir()}
    for file, content in before.items():  # a byte behind the end changes no pixel, but the file
        file.write_bytes(content + b"\n")
    told = program.refused(1, "train", resume=run_id)
    assert "is of another training: " in told
    assert "train images '" in told
    assert client.get_run(run_id).info.status == "FAILED"
    kept = program.cache / "runs" / run_id
    aside = kept.rename(tmp_path / "kept")  # as where none was kept, and none was sent
    (Path(str(client.get_run(run_id).info.artifact_uri)) / "checkpoint").rename(tmp_path / "sent")
    told = program.refused(1, "train", resume=run_id)
    assert f"resume={run_id}: the val images and train images are not those" in told
    aside.rename(kept)
    for file, content in before.items():
        file.write_bytes(content)
    moved = own_pets.rename(tmp_path / "moved")
    told = program.refused(1, "train", resume=run_id)
    assert f"this is the data of resume={run_id}: if it lies elsewhere now, give" in told
    told = program.refused(2, "train", resume=run_id, data=moved, lr="0.02", width="4")
    assert "other settings: lr=0.02 (it was begun with 0.01); leave" in told
    (tmp_path / "link").symlink_to(moved)
    same = {"lr": "0.010", "model_name": "pet-unet", "device": "cpu", "data": f"{tmp_path}/link/"}
    opened = opened_by_launcher(client)  # as for every command
    good(program.entry("train", MLFLOW_RUN_ID=opened, resume=run_id, **same))
    assert client.get_run(opened).data.tags["mlflow.parentRunId"] == run_id
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags  # what was said of an end that was none
    assert [version.run_id for version in program.versions()] == [run_id]
