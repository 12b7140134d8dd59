"""The run that `mlflow run` opens: taken where it is new, with what its user has said of it."""

from pathlib import Path

import mlflow
import pytest

from experiments.petseg import ENTRY_POINTS
from segmentation.tracking.runs.heartbeat import first_sign
from tests.helpers.programs import PROJECT, Program, good, opened_by_launcher

OPENED = {"mlflow.project.entryPoint": "main"}
#: Runs that are not new, each with a word of what is said of them: tags, metrics, status.
OLD: dict[str, tuple[dict[str, str], dict[str, float], str]] = {
    "has ended (FINISHED)": (OPENED, {}, "FINISHED"),
    "has ended (FAILED)": ({}, {"val/dice": 0.5}, "FAILED"),
    "of another program": (OPENED | first_sign(), {}, ""),
    "that of another program": ({"mlflow.user": "me"}, {}, ""),
    "is that of another program": (OPENED, {"loss": 1.0}, ""),
    "was deleted": (OPENED, {}, "deleted"),
}


def make_old(client: mlflow.MlflowClient, kind: str) -> str:
    tags, metrics, status = OLD[kind]
    run_id = str(client.create_run("0", tags=tags, run_name="mine").info.run_id)
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    if status == "deleted":
        client.delete_run(run_id)
    elif status:
        client.set_terminated(run_id, status)
    return run_id


@pytest.mark.parametrize("kind", [*OLD, "no such run"])
def test_no_entry_point_takes_a_run_that_the_shell_still_names(
    program: Program, client: mlflow.MlflowClient, pets: Path, kind: str
) -> None:
    run_id = make_old(client, kind) if kind in OLD else "0" * 32
    before = client.get_run(run_id).to_dictionary() if kind in OLD else {}
    photos = {"images": str(pets / "images"), "output": str(program.folder / "out")}
    options: dict[str, dict[str, str]] = {"predict": photos, "recover": {}, "shrink": {}}
    for entry in ENTRY_POINTS:
        given = options.get(entry, {"data": str(pets)})
        done = program.entry(entry, MLFLOW_RUN_ID=run_id, **given)
        assert done.returncode == 2, (entry, done.stderr)
        line = done.stderr.splitlines()[-1]
        assert line.startswith(f"Error: MLFLOW_RUN_ID={run_id}: ")
        assert kind in line
        assert "`unset MLFLOW_RUN_ID`" in line
        assert "Reading" not in done.stdout
    assert kind not in OLD or client.get_run(run_id).to_dictionary() == before
    assert len(client.search_runs(["0"])) == (kind in OLD and kind != "was deleted")


@pytest.mark.parametrize(
    ("said", "variables"),
    [
        ({"mlflow.runName": "my-own-name", "mlflow.note.content": "mine", "data.source": "x"}, {}),
        ({}, {"MLFLOW_RUN_NAME": "my-own-name"}),
        ({}, {}),
    ],
)
def test_a_new_run_is_taken_and_keeps_what_its_user_has_said(
    program: Program,
    client: mlflow.MlflowClient,
    pets: Path,
    said: dict[str, str],
    variables: dict[str, str],
) -> None:
    opened = opened_by_launcher(client, **said)
    good(program.entry("prepare", MLFLOW_RUN_ID=opened, **variables, data=pets))
    run = program.the_run
    assert (run.info.run_id, run.info.status) == (opened, "FINISHED")
    named = "my-own-name" if said or variables else f"prepare {pets.name}"
    assert run.info.run_name == named
    ours = run.data.tags["mlflow.note.content"].startswith("What lies in")
    assert ours is not bool(said)
    assert run.data.tags["data.source"] == said.get("data.source", str(pets))


#: What is typed for an entry point, and what its run comes to say of it.
REFUSED: dict[str, tuple[dict[str, str], str, str]] = {
    "train": ({"epochs": "ten"}, "-P epochs=ten", "epochs=ten: expected a whole number, at l"),
    "tune": ({"lr": "1", "width": "4"}, "-P lr=1 -P width=4", "there is nothing to search"),
    "predict": ({"images": "it's"}, """-P 'images=it'"'"'s'""", "Missing option '--output'"),
    "recover": ({"storage": "postgresql://me:pw@nowhere/x"}, "me:***@nowhere", "give `study`, too"),
}


@pytest.mark.parametrize("entry", REFUSED)
def test_a_refused_command_leaves_a_run_that_tells_what_was_typed_and_why_it_was_refused(
    program: Program, client: mlflow.MlflowClient, entry: str
) -> None:
    typed, command, said = REFUSED[entry]
    mine = {"mlflow.runName": "mine"} if entry == "tune" else {}
    opened = opened_by_launcher(client, **mine, **{"mlflow.project.entryPoint": entry})
    for name, value in typed.items():
        client.log_param(opened, name, value)
    told = program.refused(2, entry, MLFLOW_RUN_ID=opened, **typed)
    run, tags = program.the_run, program.the_run.data.tags
    named = "mine" if mine else f"{entry}: refused"
    assert (run.info.run_name, run.info.status) == (named, "FAILED")
    assert tags["mlflow.note.content"].startswith(f"`mlflow run {PROJECT} -e {entry} --env-manager")
    assert command in tags["mlflow.note.content"].splitlines()[0]
    assert said in tags["mlflow.note.content"].splitlines()[2]
    assert said in tags["failure"]
    assert said in told
    assert "pw" not in str(tags)
