"""What a search was asked to do, resolved: its job, its data, how many work on it."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from segmentation.config.search import SearchConfig
from segmentation.config.training import Config
from segmentation.tracking.commands import mlflow_run
from segmentation.tracking.store import connect, studies_folder
from segmentation.tuning.space import Space, notation
from segmentation.tuning.storage import study_location
from segmentation.utils.concurrency import Progress
from segmentation.workflows.session import TrainingSession
from segmentation.workflows.tune.job import SearchJob

#: May change while a study goes on: where and how it is computed, not what.
_FREE = ("data", "bad_examples", "device", "loader_workers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What this command is to do.

    Attributes:
        job: of each worker.
        session: device, data (`train`, `val`, and `gate` where finalists are confirmed), model.
        settings: what must not change under the study's name.
        command: goes on with the study.
        store: the address of the tracking store.
    """

    job: SearchJob
    session: TrainingSession
    settings: Mapping[str, Any]
    command: str
    store: str

    @property
    def workers(self) -> int:
        """How many trials run at once."""
        if self.job.search.workers:
            return self.job.search.workers
        return 2 if self.session.compute.device.type == "cpu" and _cores() > 1 else 1

    @property
    def threads(self) -> int:
        """Each worker's share of the threads."""
        return max(1, _cores() // self.workers)

    def summary(self) -> str:
        """Say in a line what begins."""
        job, compute = self.job, self.session.compute
        sizes = ", ".join(f"{len(part)} {name}" for name, part in self.session.data.items())
        space = ", ".join(f"{name} {text}" for name, text in notation(job.space).items())
        return (
            f"Study {job.location.name} in {job.location.address}: {space}; {job.search.trials} "
            f"trials of {job.search.trial_epochs} epochs, {self.workers} at once on "
            f"{compute.device.type}, {compute.amp}; images: {sizes}"
        )


def plan_search(
    search: SearchConfig,
    space: Space,
    options: Mapping[str, Any],
    model_name: str,
    typed: Mapping[str, Any],
    progress: Progress,
) -> SearchPlan:
    """Reach the tracking store and read the images.

    Args:
        search: how the search goes.
        space: what is searched.
        options: every other setting by its parameter's name, and train's defaults.
        model_name: of the registered model; empty for the usual one.
        typed: the parameters that differ from their defaults.
        progress: told how many images are read.

    Raises:
        ConfigError: more images are asked for than there are, or an earlier version of this
            program has begun the study.
        DataError: lists or files cannot be used.
        TrackingError: the store cannot be used.
    """
    store, config = connect(), Config.from_options(options)
    session = TrainingSession.load(config, model_name, progress, with_gate=search.confirm > 0)
    digests = {name: part.digest for name, part in session.data.items()}
    settings = {
        **{name: value for name, value in options.items() if name not in _FREE},
        **notation(space),
        "trial_epochs": search.trial_epochs,
        "pruner": search.pruner,
        **{f"{name} images": digests[name][:16] for name in ("train", "val")},
    }
    name = search.study
    if name == "auto":
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        name = f"{'synthetic' if session.source.is_synthetic else 'pets'}-{digest[:8]}"
    # After how long a trial counts as lost is something that all processes must agree on.
    settings["heartbeat"] = search.heartbeat
    if search.storage != "file":
        # What one machine computes in bf16 and another in float32 is not to be compared.
        settings["precision"] = session.compute.precision
    job = SearchJob(
        location=study_location(name, search.storage, studies_folder(), search.heartbeat),
        search=search,
        space=space,
        options=options,
        digests=digests,
        model_name=session.model_name,
        deadline=None if search.seconds is None else time.time() + search.seconds,
    )
    command = mlflow_run("tune", {**typed, "study": name})
    return SearchPlan(job=job, session=session, settings=settings, command=command, store=store)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
