"""README.md and docs/ say what the code does, as far as the code can be asked."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from docs import parameters
from tests.helpers.programs import DOCS, PROJECT, README

PAGES = [README, *sorted(DOCS.rglob("*.md"))]
#: What was measured names parameters of then.
TODAY = [path for path in PAGES if path.name != "results.md"]


def test_the_page_of_parameters_is_what_the_code_declares() -> None:
    assert parameters.PAGE.read_text() == parameters.page(), "write it: python -m docs.parameters"


def test_the_readme_is_a_page_of_one_screen() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 900


@pytest.mark.parametrize("page", TODAY, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_documented_command_has_an_entry_point_and_its_parameters(page: Path) -> None:
    for line in re.findall(r"mlflow run \. (-e [^`\n|]*)", page.read_text()):
        words = shlex.split(line, comments=True)
        assert words[1] in parameters.ENTRY_POINTS, line
        known = {option.name for option in parameters.command(words[1]).params}
        given = [word for before, word in itertools.pairwise(words) if before == "-P"]
        assert {word.partition("=")[0] for word in given} <= known, line
        assert "--env-manager local" in line or "-P" not in line, line


def test_every_test_that_is_named_is_there() -> None:
    there = {path.name for path in (PROJECT / "tests").rglob("test_*.py")}
    text = "".join(path.read_text() for path in [*PAGES, *PROJECT.glob("*.md")])
    assert set(re.findall(r"\btest_\w+\.py", text)) <= there
    paths = re.findall(r"\btests/[\w/]+\.py", text)
    assert [path for path in paths if not (PROJECT / path).exists()] == []
