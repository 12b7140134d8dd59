"""What all processes of a search know: its job, whose models are registered, who is confirmed."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from segmentation.config.search import SearchConfig
from segmentation.config.training import FREE, Config
from segmentation.data.augmentation.pipeline import Pipeline
from segmentation.tracking.registry import versions
from segmentation.tracking.store import studies_folder
from segmentation.tracking.summaries import studies
from segmentation.tuning.report import DEFAULTS, best_trials
from segmentation.tuning.space import Space, Value, notation, renamed
from segmentation.tuning.storage import StudyLocation, study_location
from segmentation.tuning.study import Study, Trial, choose_pruner
from segmentation.workflows.session import TrainingSession

#: With so many seeds, other than that of the trials, each finalist is trained again.
CONFIRMATIONS = 2

_SEEDS = 2**32


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchJob:
    """All that a worker needs to know; can be sent to another process."""

    location: StudyLocation
    search: SearchConfig
    space: Space
    #: Every other setting, by its parameter's name, and train's defaults for what is searched; its
    #: `epochs` is the length of a whole training.
    options: Mapping[str, Any]
    #: What must not change under the study's name.
    settings: Mapping[str, Any]
    #: Of the splits that the study was begun with, by name.
    digests: Mapping[str, str]
    #: A person's own, by the path of its file.
    pipelines: Mapping[str, Pipeline]
    model_name: str
    #: When this command began, in seconds since 1970.
    started: float = dataclasses.field(default_factory=time.time)

    @classmethod
    def plan(
        cls,
        search: SearchConfig,
        space: Space,
        options: Mapping[str, Any],
        session: TrainingSession,
        pipelines: Mapping[str, Pipeline],
    ) -> "SearchJob":
        """Name the study, and say what must not change under its name."""
        digests = {name: part.digest for name, part in session.data.items()}
        settings = {
            **{name: one for name, one in options.items() if name not in FREE},
            **notation(renamed(space, _labels(pipelines))),
            "trial_epochs": search.trial_epochs,
            "pruner": search.pruner,
            **{f"{name} images": digests[name][:16] for name in ("train", "val")},
        }
        if session.augmentation:
            settings["augment"] = session.augmentation.digest[:16]
            pipelines = {**pipelines, options["augment"]: session.augmentation}
        name = search.study
        if name == "auto":
            digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
            name = f"{session.source.kind}-{digest[:8]}"
        # After how long a trial counts as lost is something that all processes must agree on.
        settings["heartbeat"] = search.heartbeat
        if search.storage != "file":
            # What one machine computes in bf16 and another in float32 is not to be compared.
            settings["precision"] = session.compute.precision
        return cls(
            location=study_location(name, search.storage, studies_folder(), search.heartbeat),
            search=search,
            space=space,
            options=options,
            settings=settings,
            digests=digests,
            pipelines=pipelines,
            model_name=session.model_name,
        )

    def open_study(self) -> Study:
        """Open the study, making it where it is new; its settings must be the same."""
        pruner = choose_pruner(self.search.pruner, self.search.trial_epochs)
        space = renamed(self.space, _labels(self.pipelines))
        study = Study(self.location, space, int(self.options["seed"]), pruner)
        study.require_settings(self.settings)
        if "gate" in self.digests:
            study.confirmations.require_settings({"gate images": self.digests["gate"][:16]})
        return study

    def trial_config(self, params: Mapping[str, Value]) -> Config:
        return self._config(params, epochs=self.search.trial_epochs)

    def full_config(self, params: Mapping[str, Value], seed: int) -> Config:
        return self._config(params, seed=seed)

    def shown_space(self) -> Space:
        """Return the space in which files stand with what the study calls them."""
        shown = {file: f"{file} ({label})" for label, file in self.files.items()}
        return renamed(self.space, shown)

    @property
    def files(self) -> dict[str, str]:
        """The files of a person's own pipelines, by what the study calls them."""
        return {label: file for file, label in _labels(self.pipelines).items()}

    def _config(self, params: Mapping[str, Value], **more: int) -> Config:
        found = {name: self.files.get(str(value), value) for name, value in params.items()}
        return Config.from_options({**self.options, **found, **more})


def _labels(pipelines: Mapping[str, Pipeline]) -> dict[str, str]:
    """Return what a study calls a person's own pipelines, by their files, which may move."""
    return {file: own.digest[:16] for file, own in pipelines.items()}


def enqueue_confirmations(job: SearchJob, study: Study) -> None:
    """Have the best trials and train's defaults trained again, each with new seeds.

    Confirmations are the trials of a study of their own, so that they are claimed and tried again
    as trials are, and that no sampler or plot takes them for trials of the search.
    """
    best = best_trials(study.trials(), job.search.confirm)
    if not best:
        return
    candidates = [(trial.number, f"trial {trial.number}", trial.params) for trial in best]
    defaults = {name: job.options[name] for name in job.space}
    candidates.append((DEFAULTS, "train's defaults", defaults))
    first = int(job.options["seed"])
    study.confirmations.enqueue(
        [
            (
                {"candidate": number, "seed": seed},
                {"label": label, "params": params, "seed": seed},
            )
            for seed in [(first + 1 + step) % _SEEDS for step in range(CONFIRMATIONS)]
            for number, label, params in candidates
        ]
    )


def requeue_lost_trials(study: Study) -> None:
    """Have lost trials tried again, and end in MLflow the runs that they have left open."""
    both = {"search": study, "confirmation": study.confirmations}
    for one in both.values():
        one.requeue_lost_trials()

    def states() -> dict[tuple[str, int], str]:
        return {(stage, t.number): t.state for stage, one in both.items() for t in one.trials()}

    with study.lock():  # another command may find the same runs
        studies.reconcile(study.id, states)


def register_trial(study: Study, trial: Trial, name: str) -> versions.VersionRef | None:
    """Register the model of a complete trial, if nobody has; None where it was dropped since."""
    with study.lock():
        if trial.number in dropped(study):
            return None
        tags = {"trial": str(trial.number), "purpose": "trial"}
        return register(study, trial, name, tags)


def register(
    study: Study, trial: Trial, name: str, tags: Mapping[str, str], verdict: str = ""
) -> versions.VersionRef:
    """Register the model of a trial or a confirmation, for who holds the study's lock."""
    model = trial.user_attrs["model"]
    tags = {**model["tags"], "study": study.location.name, "study.id": study.id, **tags}
    description = verdict + model["description"]
    return versions.register(model["id"], name, description, tags, model["introduction"])


def dropped(study: Study) -> list[int]:
    """Return the numbers of the trials whose models were deleted on purpose."""
    return list(study.user_attrs.get("dropped", []))
