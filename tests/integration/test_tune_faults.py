"""`tune` when something is wrong."""

from pathlib import Path

import mlflow
import pytest

from tests.helpers.programs import Program
from tests.helpers.studies import TINY_SEARCH, Searched, assert_exact

BAD = {
    "no range": ({"width": "8..x"}, "width=8..x: expected a whole number"),
    "nothing to search": ({"width": "4", "lr": "1e-3"}, "nothing to search"),
    "impossible corner": ({"depth": "3..7"}, "depth=7: at image_size=32"),
    "timeout": ({"timeout": "soon"}, "timeout=soon: expected such as 90s"),
    "pruner": ({"pruner": "axe"}, "pruner=axe: expected one of"),
    "study": ({"study": "a/b"}, "study=a/b: expected up to 100 letters"),
    "storage": ({"storage": "sqlite:///x"}, "storage=sqlite:///x: expected postgresql://"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_gives_one_clear_error_and_no_study(
    program: Program, pets: Path, case: str
) -> None:
    changes, message = BAD[case]
    done = program.entry("tune", **{**TINY_SEARCH, "data": pets, **changes})
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not (program.folder / "studies").exists()
    if (program.folder / "mlflow.db").exists():
        assert mlflow.MlflowClient(program.store).search_runs(["0"]) == []


def test_failed_trials_do_not_end_a_study_and_other_settings_are_refused(
    program: Program, pets: Path
) -> None:
    # The largest learning rate, with a huge decay, multiplies the weights by -99 at each step.
    wild = {"lr": "1e-3,9.99", "width": "4", "weight_decay": "9.99", "ema": "0"}
    options = {**TINY_SEARCH, **wild, "precision": "fp32", "confirm": "0", "workers": "1"}
    options |= {"trials": "5", "trial_epochs": "25", "pruner": "none", "data": str(pets)}
    done = program.entry("tune", **options)
    assert done.returncode == 0, done.stderr
    searched = Searched(program)
    assert_exact(searched, trials=5, confirmations=0)
    failed = [trial for trial in searched.trials() if trial.state == "failed"]
    assert failed
    assert all("loss became" in trial.user_attrs["failure"] for trial in failed)
    assert all(trial.params["lr"] == 9.99 for trial in failed)
    assert "failed: the" in done.stdout
    runs = searched.runs(stage="search")
    assert sum(run.info.status == "FAILED" for run in runs) == len(failed)
    assert "nothing is confirmed" in done.stdout
    refused = program.entry("tune", **{**options, "lr": "1e-3,1e-2", "split_seed": "1"})
    assert refused.returncode == 2
    assert "study=small was begun with other settings" in refused.stderr
    assert "lr=0.001,0.01 (there it is 0.001,9.99)" in refused.stderr
    assert "split_seed=1 (there it is 0)" in refused.stderr
    assert "images=" in refused.stderr
    assert_exact(searched, trials=5, confirmations=0)
