"""Eight commands at once, on a store, a study and a cache that none of them has seen before."""

import sys
from pathlib import Path

import mlflow
import pytest

from segmentation.data.oxford_pets import read_lists
from segmentation.data.splits import gate_of
from segmentation.tracking.registry.loading import load
from tests.helpers.programs import DISCS, TINY, Program, finish, good
from tests.helpers.studies import TINY_SEARCH, assert_exact, trials_of


def test_several_may_make_a_store_and_an_experiment_at_once(program: Program) -> None:
    code = "from segmentation.tracking.store import connect; connect()"
    command = (sys.executable, "-c", code)
    processes = [program.start(*command, MLFLOW_EXPERIMENT_NAME="new") for _ in range(3)]
    for process in processes:
        good(finish(process))
    assert program.client.get_experiment_by_name("new") is not None


@pytest.mark.slow
def test_of_two_promoted_at_once_the_better_is_champion(program: Program, discs: Path) -> None:
    """Each that found no champion would be the first one, and the last of them would stay."""
    for epochs in (14, 5):
        good(program.entry("train", **DISCS, epochs=epochs, data=discs))
    client = program.client
    client.delete_registered_model_alias("pet-unet", "champion")
    models = [f"models:/pet-unet/{number}" for number in (1, 2)]
    processes = [program.start_entry("promote", model=model, data=discs) for model in models]
    for process in processes:
        good(finish(process))
    assert str(client.get_model_version_by_alias("pet-unet", "champion").version) == "1"


@pytest.mark.slow
def test_six_that_train_and_two_that_search_leave_exactly_what_each_would_alone(
    program: Program, pets: Path
) -> None:
    search = {**TINY_SEARCH, "workers": "1", "data": pets}
    processes = [program.start_entry("train", **TINY, data=pets, seed=seed) for seed in range(6)]
    processes += [program.start_entry("tune", **search) for _ in range(2)]
    assert all("Traceback" not in good(finish(process)).stderr for process in processes)
    assert_exact(program, trials=4, confirmations=4)
    trainings = [run for run in program.runs() if "stage" not in run.data.tags]
    assert [run.info.status for run in trainings] == ["FINISHED"] * 6
    assert [len(run.inputs.dataset_inputs) for run in trainings if run.inputs] == [2] * 6
    assert sorted(run.data.params["seed"] for run in trainings) == list("012345")
    versions = program.versions()
    numbers = sorted(int(version.version) for version in versions)
    complete = sum(trial.state == "complete" for trial in trials_of(program))
    assert numbers == list(range(1, 6 + complete + 1 + 1))  # and the search's winner
    of_trainings = [str(v.run_id) for v in versions if "purpose" not in v.tags]
    assert sorted(of_trainings) == sorted(run.info.run_id for run in trainings)
    aliases: dict[str, int] = dict(program.client.get_registered_model("pet-unet").aliases)
    assert set(aliases) <= {"challenger", "champion"}
    mlflow.set_tracking_uri(program.store)
    for number in numbers:
        assert load(f"models:/pet-unet/{number}") is not None
    kept = list((program.cache / "decoded" / "32").iterdir())
    # Each example once, whoever came first, and nothing half written.
    assert {path.suffix for path in kept} == {".npz"}
    assert len(kept) == 18 + len(gate_of(read_lists(pets)["trainval"]))
