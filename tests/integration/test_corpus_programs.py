"""The programs on hostile, broken and odd data: exit codes and words, and never a traceback."""

import os
import re
import subprocess
from pathlib import Path

import mlflow
import pytest

from segmentation.data.oxford_pets import read_list
from segmentation.data.splits import in_gate
from tests.helpers.corpus import Case, put, write
from tests.helpers.corpus_archives import archives, serving
from tests.helpers.corpus_cases import cases
from tests.helpers.corpus_lists import ALL_BAD_LINES, BAD_LINES, Listed, lists
from tests.helpers.corpus_refused import NO_PHOTO
from tests.helpers.corpus_table import misnamed
from tests.helpers.programs import TINY, Program, entry_command

ALL = TINY | {"train_images": "all", "val_images": "all", "epochs": "1"}


@pytest.fixture
def good() -> list[Case]:
    """Examples with nothing wrong."""
    return [case for case in cases(0) if not case.refusals]


def named(lines: list[str], case: Case) -> list[str]:
    """The lines that name a file of a case."""
    return [line for line in lines if f"/{case.id}.jpg: " in line or f"/{case.id}.png: " in line]


def test_prepare_names_every_offender_and_no_other(tmp_path: Path, program: Program) -> None:
    made = cases(0)
    write(tmp_path / "pets", made)
    done = program.entry("prepare", data=tmp_path / "pets")
    refused = [case for case in made if case.refusals]
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert f"problems:  {len(refused)}\n" in done.stdout
    assert done.stderr.startswith(f"Error: {len(refused)} of the listed examples cannot be used")
    assert len(done.stderr.splitlines()) == 1
    lines = done.stdout.splitlines()
    for case in made:
        if case.refusals:
            assert misnamed(case, named(lines, case)) == ""
        else:
            assert named(lines, case) == []


def test_train_stops_with_all_offenders_or_leaves_them_out(
    tmp_path: Path, program: Program
) -> None:
    made = cases(0)
    write(tmp_path / "pets", made)
    listed = {example.id: example for example in read_list(tmp_path / "pets", "trainval")}
    looked_at = [case for case in made if case.id in listed and not in_gate(listed[case.id])]
    refused = [case for case in looked_at if case.refusals]
    stopped = program.entry("train", **ALL, data=tmp_path / "pets")
    assert (stopped.returncode, "Traceback" in stopped.stderr) == (1, False), stopped.stderr
    client = mlflow.MlflowClient(program.store)
    assert client.search_runs(["0"]) == []
    skipped = program.entry("train", **ALL, data=tmp_path / "pets", bad_examples="skip")
    assert (skipped.returncode, "Traceback" in skipped.stderr) == (0, False), skipped.stderr
    assert skipped.stdout.count("Left out of ") == len(refused)
    (run,) = client.search_runs(["0"])
    kept = Path(client.download_artifacts(run.info.run_id, "bad_examples.txt")).read_text()
    for text in (stopped.stderr, skipped.stdout, kept):
        for case in looked_at:
            lines = named(text.splitlines(), case)
            assert misnamed(case, lines) == "" if case.refusals else lines == []
    in_the_gate = [case for case in made if case.id in listed and case not in looked_at]
    bad = sum(bool(case.refusals) for case in in_the_gate)
    assert f"{bad} gate images cannot be used and are left out" in skipped.stdout


@pytest.mark.parametrize("name", ["prepare", "train"])
def test_all_bad_lines_of_both_lists_are_named_at_once(
    tmp_path: Path, program: Program, good: list[Case], name: str
) -> None:
    write(tmp_path / "pets", good)
    for part in ("trainval", "test"):
        path = tmp_path / "pets" / "annotations" / f"{part}.txt"
        path.write_bytes(ALL_BAD_LINES.encode())
    done = refused(program, name, tmp_path / "pets")
    for part in ("trainval", "test"):
        assert f"{len(BAD_LINES)} lines of {part}.txt cannot be used:" in done.stderr
        numbers = re.findall(rf"/{part}\.txt:(\d+): ", done.stderr)
        assert len(set(numbers)) == len(numbers) == len(BAD_LINES)
    for _, _, said in BAD_LINES:
        assert done.stderr.count(said) >= 2


def test_a_pipe_in_place_of_a_list_is_refused_not_waited_for(
    tmp_path: Path, program: Program, good: list[Case]
) -> None:
    write(tmp_path / "pets", good)
    (pipe,) = [listed for listed in lists() if listed.content is os.mkfifo]
    one_refusal(program, "prepare", tmp_path / "pets", pipe)


@pytest.mark.full
@pytest.mark.parametrize("name", ["prepare", "train"])
@pytest.mark.parametrize(
    "listed", [one for one in lists() if one.reasons], ids=lambda listed: listed.kind
)
def test_every_bad_list_is_refused(
    tmp_path: Path, program: Program, good: list[Case], listed: Listed, name: str
) -> None:
    write(tmp_path / "pets", good)
    one_refusal(program, name, tmp_path / "pets", listed)


@pytest.mark.full
@pytest.mark.parametrize("kind", archives())
def test_prepare_refuses_every_bad_archive(
    tmp_path: Path, program: Program, good: list[Case], kind: str
) -> None:
    write(tmp_path / "pets", good)
    server = serving(kind, tmp_path / "pets")
    try:
        done = program.run(*server.command())
    finally:
        server.close()
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: the data set could not be downloaded")
    assert set(os.listdir(program.cache)) <= {"oxford-iiit-pet.lock", "locks"}


def test_names_that_a_terminal_or_utf8_cannot_show_are_told_all_the_same(
    tmp_path: Path, program: Program, good: list[Case]
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9 \n pets")
    write(folder, [case for case in good if "\xf1" not in case.id])
    listed = read_list(folder, "trainval")
    trained = {example.id for example in listed if not in_gate(example)}
    bad = next(case for case in good if case.id in trained and not case.id.isascii())
    (folder / "images" / f"{bad.id}.jpg").write_bytes(b"no photo")
    for name, options, code in (
        ("prepare", {}, 1),
        ("train", {**ALL, "bad_examples": "skip"}, 0),
        ("train", ALL, 1),
    ):
        command = entry_command(name, data=folder, **options)
        done = program.run(*command, PYTHONIOENCODING="latin-1")
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        assert f"{bad.id}.jpg: {NO_PHOTO}".encode("ascii", "backslashreplace").decode() in (
            done.stderr if name == "train" and code else done.stdout
        )


def one_refusal(program: Program, name: str, root: Path, listed: Listed) -> None:
    """Have one list of a data set replaced, and a program refuse it."""
    path = root / "annotations" / "trainval.txt"
    path.unlink()
    put(path, listed.content)
    done = refused(program, name, root)
    assert all(reason in done.stderr for reason in listed.reasons), done.stderr


def refused(program: Program, name: str, root: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program that ends in one error and leaves no run."""
    done = program.entry(name, data=root)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert done.stderr.count("Error: ") == 1
    if (program.folder / "mlflow.db").exists():
        assert mlflow.MlflowClient(program.store).search_runs(["0"]) == []
    return done
