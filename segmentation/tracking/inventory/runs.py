"""What trainings have left: checkpoints here and in the store, and the runs that were deleted."""

import functools
import time
from collections.abc import Iterable

import mlflow
from mlflow.entities import Run as MlflowRun
from mlflow.entities import ViewType

from segmentation.config.shrink import ShrinkConfig
from segmentation.tracking.artifacts import remove_at, size_at
from segmentation.tracking.inventory.local_files import RunFolder, run_folders, size_of
from segmentation.tracking.runs.training_run import CHECKPOINTS
from segmentation.tracking.store import paginate
from segmentation.utils.inventory import Category, Item


def every_run(view: int) -> list[MlflowRun]:
    """Return the runs of this program, those that are deleted or not or both, as `view` says."""
    client = mlflow.MlflowClient()
    # Of deleted experiments too: their runs are not to be taken for unknown ones.
    everywhere = ViewType.ALL
    experiments = paginate(lambda page: client.search_experiments(everywhere, page_token=page))
    ids = [experiment.experiment_id for experiment in experiments]
    ours = "tags.`git.dirty` LIKE '%'"
    return list(paginate(lambda page: client.search_runs(ids, ours, view, page_token=page)))


def has_ended_well(run: MlflowRun) -> bool:
    """Tell whether nobody will go on with a run: it is finished, or was deleted."""
    deleted = run.info.lifecycle_stage == "deleted" and run.info.status != "RUNNING"
    return bool(run.info.status == "FINISHED" or deleted)


def over_since(run: MlflowRun, before: float) -> bool:
    """Tell whether a run ended, in whatever way, before a time in seconds since 1970."""
    ended = run.info.end_time
    return bool(run.info.status != "RUNNING" and ended and ended / 1000 < before)


def checkpoints(asked: ShrinkConfig) -> Category:
    """Return what trainings keep to go on from, on this machine and in the store."""
    runs = every_run(ViewType.ALL)
    before = time.time() - asked.seconds
    return Category(
        name="checkpoints",
        things=[*_local(runs, asked, before), *_uploaded(runs, asked, before)],
        note=f"those of trainings that were stopped or failed stay for {asked.older}, and what is "
        "not delivered to the store stays",
    )


def deleted_runs() -> Category:
    """Return the runs that were deleted in MLflow, which keeps them until they are collected."""
    return Category(
        name="deleted runs",
        things=[
            Item(name=run.info.run_id, size=size_at(run.info.artifact_uri))
            for run in every_run(ViewType.DELETED_ONLY)
        ],
        note="`mlflow gc` removes them for good",
    )


def _local(runs: Iterable[MlflowRun], asked: ShrinkConfig, before: float) -> list[Item]:
    """Return the folders of trainings on this machine."""
    well = {run.info.run_id for run in runs if has_ended_well(run)}

    def spare(folder: RunFolder) -> bool:
        over = folder.run_id in well or folder.changed < before
        return (folder.going or over) and not (folder.undelivered or folder.written)

    return [
        Item(
            name=f"checkpoint of run {folder.run_id}",
            size=size_of(folder.path),
            remove=folder.remove if asked.checkpoints and spare(folder) else None,
        )
        for folder in run_folders()
    ]


def _uploaded(runs: Iterable[MlflowRun], asked: ShrinkConfig, before: float) -> list[Item]:
    """Return what trainings have uploaded; what a deleted run has goes with the run."""
    things = []
    for run in runs:
        if run.info.lifecycle_stage == "active" and "data.digest" in run.data.tags:
            size = size_at(run.info.artifact_uri, CHECKPOINTS)
            remove = functools.partial(_remove_uploaded, run.info.run_id, before)
            name = f"uploaded checkpoint of run {run.info.run_id}"
            spare = asked.checkpoints and _is_over(run, before)
            if size:
                things.append(Item(name=name, size=size, remove=remove if spare else None))
    return things


def _remove_uploaded(run_id: str, before: float) -> bool:
    run = mlflow.get_run(run_id)
    if not _is_over(run, before) or not size_at(run.info.artifact_uri, CHECKPOINTS):
        return False  # somebody goes on with it, or has removed it
    remove_at(run.info.artifact_uri, CHECKPOINTS)
    return True


def _is_over(run: MlflowRun, before: float) -> bool:
    return has_ended_well(run) or over_since(run, before)
