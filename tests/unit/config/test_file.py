"""A file of settings: what is in it counts, what is typed wins, what is unknown is refused."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from experiments.petseg import command, main
from segmentation.config import file
from segmentation.config.commands import requested
from segmentation.config.training import Config


def parsed(entry: str, *words: str) -> dict[str, object]:
    return command(entry).make_context(entry, list(words)).params


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.yaml", "lr: 1e-3\nwidth: 8\nimage-size: 64\nloss: null\nbudget: 90\n"),
        ("a.TOML", "lr = 1e-3\nwidth = 8\nimage_size = 64\nbudget = '90s'\n"),
    ],
)
def test_a_file_gives_what_is_not_typed(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    options = parsed("train", "--config", str(path), "--width", "4", "--loss=")
    config = Config.from_options(options)
    assert (config.training.lr, config.model.width, config.data.image_size) == (1e-3, 4, 64)
    assert (config.training.loss, requested(options)[0]["budget"]) == ("bce", 90.0)


def test_a_list_is_what_a_search_chooses_from(tmp_path: Path) -> None:
    path = tmp_path / "tune.yaml"
    path.write_text("width: [8, 16]\nlr: 3e-4..3e-2\ntrials: 3\n")
    options = parsed("tune", f"--config={path}")
    assert (options["width"], options["lr"], options["trials"]) == ("8,16", "3e-4..3e-2", "3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rate: 1\nwidht: 8\n", "(did you mean lr?); no setting is called widht (did you"),
        ("trials: 3\n", "no setting is called trials"),
        ("config: a.yaml\n", "no setting is called config"),
        ("lr: {low: 1}\n", "lr: expected one value"),
        ("just words\n", "expected lines such as `lr: 0.003`"),
        ("lr: 1\nlr: 2\n", "expected lines such as `lr: 0.003` (a name stands there twice)"),
        ("encoder-lr: 0\nencoder_lr: 1\n", "(a name stands there twice)"),
        ("", "expected lines such as `lr: 0.003`"),
        ("lr: [1\n", "expected lines such as `lr: 0.003` ("),
        ("lr: !!python/object/apply:os.getcwd []\n", "expected lines such as `lr: 0.003` ("),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(text)
    with pytest.raises(click.UsageError) as raised:
        parsed("train", "--config", str(path))
    assert raised.value.message.startswith(f"config={path}: ")
    assert said in raised.value.message


def test_numbers_are_texts_where_texts_are_expected(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("foreground: 1\nignore: [3, 4]\n")
    config = Config.from_options(file.read(str(path), parsed("train").keys()))
    assert (config.data.foreground, config.data.ignore) == ("1", "3,4")


@pytest.mark.parametrize("entry", ["train", "tune"])
def test_petseg_config_prints_every_default_as_a_file_that_is_taken(
    tmp_path: Path, entry: str
) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(CliRunner().invoke(main, ["config", entry]).output)
    usual, options = parsed(entry), parsed(entry, "--config", str(path))
    assert options.keys() == usual.keys()
    if entry == "train":
        assert Config.from_options(options) == Config()
    else:
        assert (options["width"], options["lr"]) == ("8..32:8", "3e-4..3e-2")
    known = file.read(str(path), usual.keys())
    assert {name for name in usual if name not in known} == set()


def test_the_schema_has_each_parameter_with_its_kind() -> None:
    found = json.loads(CliRunner().invoke(main, ["config", "--schema"]).output)
    assert found["properties"].keys() == parsed("train").keys()
    assert found["properties"]["lr"]["exclusiveMinimum"] == 0
    assert found["properties"]["border"]["enum"] == ["pet", "background", "ignore"]
    assert found["properties"]["data"]["type"] == "string"
