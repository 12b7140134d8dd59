"""What cannot be drawn is told, and costs nothing else."""

from pathlib import Path

import mlflow
import pytest

from tests.helpers.drawing import broken_drawing
from tests.helpers.programs import TINY, Program, good


def test_a_training_and_an_evaluation_end_well_without_pictures(
    program: Program, pets: Path
) -> None:
    def client() -> mlflow.MlflowClient:
        return mlflow.MlflowClient(program.store)

    def artifacts_without_pictures(name: str, **options: object) -> set[str]:
        with broken_drawing():
            done = good(program.entry(name, **options, data=pets))
        told = [line for line in done.stderr.splitlines() if line.startswith("Not drawn: ")]
        assert told
        assert all(line.endswith(" (OSError: no fonts)") for line in told)
        run = client().search_runs(["0"])[0]
        assert run.info.status == "FINISHED"
        folder = Path(client().download_artifacts(run.info.run_id, ""))
        assert not [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg")]
        return {str(path.relative_to(folder)) for path in folder.rglob("*")}

    assert {"splits.json", "val/images.json"} <= artifacts_without_pictures("train", **TINY)
    assert client().get_registered_model("pet-unet").aliases
    left = artifacts_without_pictures("evaluate", model="models:/pet-unet/1", split="gate")
    assert {"gate/report.html", "gate/images.csv", "gate/images.json"} <= left
    assert "gate.dice" in client().get_model_version("pet-unet", "1").tags


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", ""])
def test_a_notebooks_variable_does_not_matter_and_stays(program: Program, backend: str) -> None:
    code = (
        "from segmentation.utils.figures import Figure\n"
        "Figure().savefig('figure.png')\n"
        "import os; print(os.environ['MPLBACKEND'])"
    )
    done = good(program.run("python", "-c", code, MPLBACKEND=backend))
    assert done.stdout == f"{backend}\n"
    assert (program.folder / "figure.png").read_bytes().startswith(b"\x89PNG")
