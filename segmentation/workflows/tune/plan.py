"""What a search was asked to do, resolved: its study, its settings, its workers."""

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
    """What was asked for, resolved.

    Attributes:
        search: how the search goes.
        space: what is searched.
        options: every other setting by its parameter's name, and train's defaults for what is
            searched.
        session: device, data (`train`, `val`, and `gate` where finalists are confirmed), model.
        typed: the parameters that differ from their defaults, as they are typed.
        store: the address of the tracking store.
    """

    search: SearchConfig
    space: Space
    options: Mapping[str, Any]
    session: TrainingSession
    typed: Mapping[str, Any]
    store: str

    @property
    def command(self) -> str:
        """The command that goes on with the study."""
        return mlflow_run("tune", {**self.typed, "study": self.name})

    @property
    def name(self) -> str:
        """The study's name."""
        if self.search.study != "auto":
            return self.search.study
        text = json.dumps(self._settings(), sort_keys=True)
        kind = "synthetic" if self.session.source.is_synthetic else "pets"
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def settings(self) -> dict[str, Any]:
        """Return what must not change under the study's name."""
        # After how long a trial counts as lost is something that all processes must agree on.
        settings = {**self._settings(), "heartbeat": self.search.heartbeat}
        if self.search.storage != "file":
            # What one machine computes in bf16 and another in float32 is not to be compared.
            settings["precision"] = self.session.compute.precision
        return settings

    def _settings(self) -> dict[str, Any]:
        """Return what decides the trials."""
        digests = {f"{name} images": self.digests[name][:16] for name in ("train", "val")}
        return {
            **{name: value for name, value in self.options.items() if name not in _FREE},
            **notation(self.space),
            "trial_epochs": self.search.trial_epochs,
            "pruner": self.search.pruner,
            **digests,
        }

    @property
    def digests(self) -> dict[str, str]:
        """The digest of each split."""
        return {name: part.digest for name, part in self.session.data.items()}

    def flat(self) -> dict[str, Any]:
        """Return all settings as they are logged."""
        search = notation(self.space) | dataclasses.asdict(self.search)
        logged = {f"search.{name}": value for name, value in search.items()}
        return logged | Config.from_options(self.options).flat()

    def job(self) -> SearchJob:
        """Return what the workers are to do."""
        search = self.search
        return SearchJob(
            location=study_location(self.name, search.storage, studies_folder(), search.heartbeat),
            search=search,
            space=self.space,
            options=self.options,
            digests=self.digests,
            model_name=self.session.model_name,
            deadline=None if search.seconds is None else time.time() + search.seconds,
        )

    @property
    def workers(self) -> int:
        """How many trials run at once."""
        if self.search.workers:
            return self.search.workers
        return 2 if self.session.compute.device.type == "cpu" and _cores() > 1 else 1

    @property
    def threads(self) -> int:
        """Each worker's share of the threads."""
        return max(1, _cores() // self.workers)

    def summary(self, address: str) -> str:
        """Say in a line what begins."""
        sizes = ", ".join(f"{len(part)} {name}" for name, part in self.session.data.items())
        space = ", ".join(f"{name} {text}" for name, text in notation(self.space).items())
        compute = self.session.compute
        return (
            f"Study {self.name} in {address}: {space}; {self.search.trials} trials of "
            f"{self.search.trial_epochs} epochs, {self.workers} at once on {compute.device.type}, "
            f"{compute.amp}; images: {sizes}"
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
        ConfigError: more images are asked for than there are.
        DataError: lists or files cannot be used.
        TrackingError: the store cannot be used.
    """
    store, config = connect(), Config.from_options(options)
    session = TrainingSession.load(config, model_name, progress, with_gate=search.confirm > 0)
    return SearchPlan(
        search=search, space=space, options=options, session=session, typed=typed, store=store
    )


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
