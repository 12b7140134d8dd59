"""Eight commands at once, on a store, a study and a cache that none of them has seen before."""

import sys
from pathlib import Path

import mlflow
import pytest

from segmentation.data.oxford_pets import read_trainval
from segmentation.data.splits import gate_of
from segmentation.tracking.registry.loading import load
from tests.helpers.discs import SMALL
from tests.helpers.programs import TINY, Program, entry_command, good
from tests.helpers.studies import TINY_SEARCH, Searched, assert_exact


def test_several_may_make_a_store_and_an_experiment_at_once(program: Program) -> None:
    code = "from segmentation.tracking.store import connect; connect()"
    processes = [
        program.start(sys.executable, "-c", code, MLFLOW_EXPERIMENT_NAME="new") for _ in range(4)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert mlflow.MlflowClient(program.store).get_experiment_by_name("new") is not None


@pytest.mark.slow
def test_of_two_that_are_promoted_at_once_the_better_is_champion(
    program: Program, discs: Path
) -> None:
    """Each that found no champion would be the first one, and the last of them would stay."""
    for epochs in (14, 5):
        good(program.entry("train", **SMALL, epochs=epochs, data=discs))
    client = mlflow.MlflowClient(program.store)
    client.delete_registered_model_alias("pet-unet", "champion")
    commands = [entry_command("promote", model=f"models:/pet-unet/{n}", data=discs) for n in (1, 2)]
    processes = [program.start(*command) for command in commands]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert str(client.get_model_version_by_alias("pet-unet", "champion").version) == "1"


@pytest.mark.slow
def test_six_that_train_and_two_that_search_leave_exactly_what_each_would_alone(
    program: Program, pets: Path
) -> None:
    commands = [entry_command("train", **TINY, data=pets, seed=seed) for seed in range(6)]
    commands += [entry_command("tune", **{**TINY_SEARCH, "workers": "1"}, data=pets)] * 2
    processes = [program.start(*command) for command in commands]
    outputs = [process.communicate(timeout=850) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, outputs
    assert all("Traceback" not in error for _, error in outputs)
    searched = Searched(program)
    assert_exact(searched, trials=4, confirmations=4)
    client = mlflow.MlflowClient(program.store)
    runs = client.search_runs(["0"])
    trainings = [run for run in runs if "stage" not in run.data.tags]
    assert [run.info.status for run in trainings] == ["FINISHED"] * 6
    assert [len(run.inputs.dataset_inputs) for run in trainings if run.inputs] == [2] * 6
    assert sorted(run.data.params["seed"] for run in trainings) == list("012345")
    versions = client.search_model_versions("name='pet-unet'")
    numbers = sorted(int(version.version) for version in versions)
    complete = sum(trial.state == "complete" for trial in searched.trials())
    assert numbers == list(range(1, 6 + complete + 1 + 1))  # and the search's winner
    of_trainings = [str(v.run_id) for v in versions if "purpose" not in v.tags]
    assert sorted(of_trainings) == sorted(run.info.run_id for run in trainings)
    aliases: dict[str, int] = dict(client.get_registered_model("pet-unet").aliases)
    assert set(aliases) <= {"challenger", "champion"}
    mlflow.set_tracking_uri(program.store)
    for number in numbers:
        assert load(f"models:/pet-unet/{number}") is not None
    kept = list((program.cache / "decoded" / "32").iterdir())
    # Each example once, whoever came first, and nothing half written.
    assert {path.suffix for path in kept} == {".npz"}
    assert len(kept) == 18 + len(gate_of(read_trainval(pets)))
