"""`benchmark`: what it counts and compares, and what its user finds in MLflow."""

from pathlib import Path

from tests.helpers.programs import TINY, Program, good

SMALL = {
    **{name: TINY[name] for name in ("encoder", "train_images", "val_images")},
    "image_size": "64",
    "repeats": "2",
    "widths": "4",
}


def test_every_suite_leaves_its_figures_in_a_run_of_its_own(program: Program, pets: Path) -> None:
    done = good(program.entry("benchmark", **SMALL, sizes=32, data=pets))
    runs = {run.info.run_name: run for run in program.runs()}
    parent, step, loop = (runs[f"benchmark{suite}"] for suite in ("", " step", " loop"))
    assert f"/runs/{parent.info.run_id}" in done.stdout
    assert parent.data.params["sizes"] == "32"
    for suite, run in (("step", step), ("loop", loop)):
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert {"processor", "threads", "precision", "torch"} <= set(run.data.tags)
        assert program.download(run.info.run_id, f"{suite}.csv").read_text()
    assert "multiplies matrices" in step.data.tags["mlflow.note.content"]
    figures = step.data.metrics
    for kind in ("training", "inference"):
        name = f"{kind}_images_per_second/fp32_width_4_size_32"
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
        assert figures[f"{kind}_share_of_matrix_product/fp32_width_4_size_32"] > 0

    figures = loop.data.metrics
    for where in ("whole_training", "side_32", "side_48", "side_64"):  # images still grow
        assert figures[f"loop_over_bare_step/width_4_{where}"] > 0
