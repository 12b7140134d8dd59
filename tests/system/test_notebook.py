"""The notebook of docs/, from its first cell to its last, in a kernel of its own."""

import json
import os
from pathlib import Path
from unittest import mock

import nbclient
import nbformat
import pytest

from tests.helpers.programs import DOCS, Program, good

NOTEBOOK = DOCS / "notebook.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_as_a_whole_and_shows_what_it_has_stored(program: Program) -> None:
    stored = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.from_dict(json.loads(json.dumps(stored)))
    program.folder.mkdir()
    with mock.patch.dict(os.environ, program.environment(), clear=True):
        client = nbclient.NotebookClient(fresh, timeout=600, coalesce_streams=True)
        client.execute(cwd=str(program.folder))
    pictures = [shown(cell) for cell in fresh.cells]
    assert pictures == [shown(cell) for cell in stored.cells]
    assert pictures.count(["image/jpeg"]) == 2


def shown(cell: nbformat.NotebookNode) -> list[str]:
    """Return of each thing that a cell shows whether it is a picture."""
    found = [one.data for one in cell.get("outputs", []) if "data" in one]
    return ["image/jpeg" if "image/jpeg" in one else "text" for one in found]


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "x"])
def test_what_a_notebook_has_set_in_its_shell_costs_nothing_and_stays(
    program: Program, backend: str
) -> None:
    code = (
        "from segmentation.utils.figures import Figure\n"
        "Figure().savefig('figure.png')\n"
        "import os; print(os.environ['MPLBACKEND'])"
    )
    done = good(program.run("python", "-c", code, MPLBACKEND=backend))
    assert done.stdout == f"{backend}\n"
    assert (program.folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_shows_the_notebooks_own_lines() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    (first, *_) = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert f"```python\n{first}\n```" in Path(DOCS / "python.md").read_text()
