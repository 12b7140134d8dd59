"""What a search was asked to do, resolved: its study, its settings, its workers."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from segmentation.config.search import SearchConfig
from segmentation.tracking.commands import mlflow_run
from segmentation.tracking.runs.run import Run
from segmentation.tracking.store import studies_folder
from segmentation.tuning.space import Space
from segmentation.tuning.storage import StudyLocation, study_location
from segmentation.tuning.study import Study
from segmentation.workflows.session import TrainingSession
from segmentation.workflows.tune.job import SearchJob, open_study

#: May change while a study goes on: where and how it is computed, not what.
_FREE = ("data", "bad_examples", "device", "loader_workers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What was asked for, resolved.

    Attributes:
        asked: the settings of the search.
        space: what is searched.
        options: every other setting by its parameter's name, and train's defaults for what is
            searched.
        setup: device, data (`train`, `val`, and `gate` where finalists are confirmed), model.
        began: seconds since 1970, from which the timeout counts.
        typed: the parameters that differ from their defaults, as they are typed.
    """

    asked: SearchConfig
    space: Space
    options: Mapping[str, Any]
    setup: TrainingSession
    began: float
    typed: Mapping[str, Any]

    @property
    def command(self) -> str:
        """Return the command that goes on with the study."""
        return mlflow_run("tune", {**self.typed, "study": self.name})

    @property
    def name(self) -> str:
        """The study's name."""
        if self.asked.study != "auto":
            return self.asked.study
        text = json.dumps(self._settings(), sort_keys=True)
        kind = "synthetic" if self.setup.source.is_synthetic else "pets"
        return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def settings(self) -> dict[str, Any]:
        """Return what must not change under the study's name."""
        if self.asked.storage == "file":
            return self._settings()
        # How long a machine may be silent is something that all must agree on; and what one
        # computes in bf16 and another in float32 is not to be compared.
        own = {"heartbeat": self.asked.heartbeat, "precision": self.setup.compute.precision}
        return {**self._settings(), **own}

    def _settings(self) -> dict[str, Any]:
        """Return what decides the trials."""
        own = {name: value for name, value in self.options.items() if name not in _FREE}
        data = self.setup.data
        return {
            **own,
            **{name: str(dimension) for name, dimension in self.space.items()},
            "trial_epochs": self.asked.trial_epochs,
            "pruner": self.asked.pruner,
            **{f"{name} images": data[name].digest[:16] for name in ("train", "val")},
        }

    def digests(self) -> dict[str, str]:
        """Return the digest of each split."""
        return {name: part.digest for name, part in self.setup.data.items()}

    def place(self) -> StudyLocation:
        """Say where the study is kept."""
        asked = self.asked
        return study_location(self.name, asked.storage, studies_folder(), asked.heartbeat)

    def study(self) -> Study:
        """Open the study."""
        asked, seed = self.asked, int(self.options["seed"])
        return open_study(self.place(), self.space, seed, asked.pruner, asked.trial_epochs)

    def workers(self) -> int:
        """Return how many trials run at once."""
        if self.asked.workers:
            return self.asked.workers
        return 2 if self.setup.compute.device.type == "cpu" and _cores() > 1 else 1

    def threads(self) -> int:
        """Return each worker's share of the threads."""
        return max(1, _cores() // self.workers())

    def line(self) -> str:
        """Say in a line what begins."""
        sizes = ", ".join(f"{len(part)} {name}" for name, part in self.setup.data.items())
        space = ", ".join(f"{name} {dimension}" for name, dimension in self.space.items())
        return (
            f"Study {self.name} in {self.place().address}: {space}; {self.asked.trials} trials of "
            f"{self.asked.trial_epochs} epochs, {self.workers()} at once on "
            f"{self.setup.compute.device.type}, {self.setup.compute.amp}; images: {sizes}"
        )

    def job(self, parent: Run, study_id: str) -> SearchJob:
        """Return what the workers are to do."""
        seconds = self.asked.seconds
        return SearchJob(
            place=self.place(),
            study_id=study_id,
            space=self.space,
            options=self.options,
            trial_epochs=self.asked.trial_epochs,
            trials=self.asked.trials,
            deadline=None if seconds is None else self.began + seconds,
            confirm=self.asked.confirm,
            pruner=self.asked.pruner,
            digests=self.digests(),
            parent=parent,
            model_name=self.setup.model_name,
        )


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
