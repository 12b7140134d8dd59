"""README.md, docs/ and MLproject say what the code does, as far as the code can be asked."""

import importlib
import itertools
import re
import shlex
from pathlib import Path

import pytest
import yaml

from docs import parameters
from experiments.petseg import ENTRY_POINTS, command
from tests.helpers.programs import DOCS, PROJECT, README

PAGES = [README, *sorted(DOCS.rglob("*.md"))]
#: What was measured names parameters of then.
TODAY = [path for path in PAGES if path.name != "results.md"]
TEXT = (PROJECT / "MLproject").read_text()
SECTIONS = {text.partition(":")[0]: text for text in re.split(r"\n  (?=\w)", TEXT)}
ENTRIES = yaml.safe_load(TEXT)["entry_points"]


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
        assert words[1] in ENTRY_POINTS, line
        known = {option.name for option in command(words[1]).params}
        pairs = [word for before, word in itertools.pairwise(words) if before == "-P"]
        assert {word.partition("=")[0] for word in pairs} <= known, line
        assert "--env-manager local" in line or "-P" not in line, line


def test_every_test_that_is_named_is_there() -> None:
    there = {path.name for path in (PROJECT / "tests").rglob("test_*.py")}
    text = "".join(path.read_text() for path in [*PAGES, *PROJECT.glob("*.md")])
    assert set(re.findall(r"\btest_\w+\.py", text)) <= there
    paths = re.findall(r"\btests/[\w/]+\.py", text)
    assert [path for path in paths if not (PROJECT / path).exists()] == []


@pytest.mark.parametrize("entry", ENTRIES)
def test_mlproject_declares_what_is_required_and_tells_the_defaults_of_the_rest(entry: str) -> None:
    module = importlib.import_module(f"experiments.{'train' if entry == 'main' else entry}")
    options = {str(param.name): param for param in module.main.params}
    declared = ENTRIES[entry].get("parameters", {})
    assert set(declared) == {name for name, option in options.items() if option.required}
    words = "".join(f" --{name} {{{name}}}" for name in declared)
    assert ENTRIES[entry]["command"] == f"python -m {module.__name__}{words}"
    told = re.findall(r"(\w+)=(\S*)", SECTIONS["main" if entry == "train" else entry])
    assert told
    for name, default in told:
        shown = re.search(r"\[default: (.*)\]", str(getattr(options[name], "help", "")))
        usual = shown[1] if shown else str(options[name].default)
        assert default.lower() == usual.lower().partition(", or")[0], name
