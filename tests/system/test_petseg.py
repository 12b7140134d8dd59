"""The command `petseg`: every entry point, from any folder."""

import re
import sys
from pathlib import Path

import pytest

from experiments.petseg import ENTRY_POINTS
from tests.helpers.programs import PROJECT, Program, good


def test_help_names_every_entry_point_and_imports_none(program: Program) -> None:
    code = (
        "import sys; from experiments.petseg import main; sys.argv = ['petseg', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in sys.modules if name.startswith(('experiments.', 'pydantic'))])"
    )
    shown = good(program.run(sys.executable, "-c", code)).stdout
    assert shown.endswith("['experiments.petseg']\n")
    modules = {
        one.stem for one in PROJECT.glob("experiments/*.py") if "\n    main()" in one.read_text()
    }
    assert set(re.findall(r"^  (\w+)  ", shown, re.M)) - {"config"} == modules - {"petseg"}
    assert set(ENTRY_POINTS) == modules - {"petseg"}


@pytest.mark.parametrize("words", [["train", "--width=0"], ["predict"], ["train", "--epoch=1"]])
def test_a_subcommand_is_the_program_of_that_name(program: Program, words: list[str]) -> None:
    ways = ["experiments.petseg", words[0]], [f"experiments.{words[0]}"]
    both = [program.run(sys.executable, "-m", *way, *words[1:]) for way in ways]
    names = [f"python -m {' '.join(way)}" for way in ways]
    said = [one.stderr.replace(name, "X") for one, name in zip(both, names, strict=True)]
    assert said[0] == said[1]
    assert [one.returncode for one in both] == [2, 2]


def test_several_processes_start_with_the_subcommands_words(program: Program, pets: Path) -> None:
    """Not with `train` before them, which would be no option."""
    words = ["train", "--processes=2", "--train-images=1000", "--device=cpu", f"--data={pets}"]
    done = program.run(sys.executable, "-m", "experiments.petseg", *words)
    assert done.returncode == 2, done.stderr
    assert "train_images=1000: there are" in done.stderr


def test_a_shell_completes_names_and_options(program: Program) -> None:
    line = {"COMP_WORDS": "petseg train --encoder", "COMP_CWORD": "2"}
    code = "from experiments.petseg import main; main(prog_name='petseg')"
    shown = program.run(sys.executable, "-c", code, _PETSEG_COMPLETE="bash_complete", **line)
    assert shown.stdout.splitlines() == ["plain,--encoder", "plain,--encoder-lr"]


def test_importing_the_python_api_imports_nothing_heavy(program: Program) -> None:
    code = (
        "import segmentation, sys; light = set(sys.modules); segmentation.train\n"
        "heavy = {'torch', 'mlflow', 'numpy', 'albumentations', 'PIL', 'tqdm'}\n"
        "print('pydantic' in light, heavy & set(sys.modules))"
    )
    assert good(program.run(sys.executable, "-c", code)).stdout == "False set()\n"
