"""The job of a search's workers, and who is confirmed: what both sides of a search know."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from segmentation.config.search import CONFIRMATION
from segmentation.config.training import Config
from segmentation.tracking.registry import model_card, versions
from segmentation.tracking.runs.run import Run
from segmentation.tracking.summaries import studies
from segmentation.tuning.pruners import choose_pruner
from segmentation.tuning.space import Range, Space, Value
from segmentation.tuning.storage import StudyLocation
from segmentation.tuning.study import Study, Trial

#: With so many seeds, other than that of the trials, each finalist is trained again.
CONFIRMATIONS = 2
#: Stands for train's defaults among the numbers of the trials that are confirmed.
DEFAULTS = -1

_SEEDS = 2**32


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchJob:
    """All that a worker needs to know; can be sent to another process.

    Attributes:
        place: where the study is kept.
        study_id: tells it from others of the same name; its confirmations carry it too.
        space: what is searched.
        options: every other setting, by its parameter's name, and train's defaults for what is
            searched.
        trial_epochs: length of a trial; `options` has that of a whole training.
        trials: how many in all.
        deadline: seconds since 1970 after which no trial begins; None: never.
        confirm: how many finalists are trained again.
        pruner: which trials are stopped early.
        digests: of the splits that the study was begun with, by name.
        parent: the run in which all others are nested.
        model_name: of the registered model; empty for the usual one.
    """

    place: StudyLocation
    study_id: str
    space: Space
    options: Mapping[str, Any]
    trial_epochs: int
    trials: int
    deadline: float | None
    confirm: int
    pruner: str
    digests: Mapping[str, str]
    parent: Run
    model_name: str

    def study(self) -> Study:
        """Open the study."""
        seed = int(self.options["seed"])
        return open_study(self.place, self.space, seed, self.pruner, self.trial_epochs)

    def trial_config(self, params: Mapping[str, Value]) -> Config:
        """Return the settings of a trial."""
        return Config.from_options({**self.options, **params, "epochs": self.trial_epochs})

    def whole_config(self, params: Mapping[str, Value], seed: int) -> Config:
        """Return the settings of a whole training."""
        return Config.from_options({**self.options, **params, "seed": seed})


def open_study(place: StudyLocation, space: Space, seed: int, pruner: str, epochs: int) -> Study:
    """Open the study of a search, making it where it is new.

    Args:
        place: where it is kept.
        space: what is searched.
        seed: of the sampler.
        pruner: the name of what stops trials early.
        epochs: of a trial.
    """
    return Study(place, space, seed, choose_pruner(pruner, epochs))


def confirmations(study: Study) -> Study:
    """Return the study of the finalists' further trainings, beside that of the search."""
    whole = {"log": False, "step": 1}
    return study.sibling(
        CONFIRMATION,
        {
            "candidate": Range(low=DEFAULTS, high=10**6, **whole),  # type: ignore[arg-type]
            "seed": Range(low=0, high=_SEEDS - 1, **whole),  # type: ignore[arg-type]
        },
    )


def requeue_lost_trials(study: Study, confirmation: Study) -> None:
    """Have the trials of dead processes tried again, and end in MLflow what they have left open."""
    for one in (study, confirmation):
        with one.locked():
            one.requeue_lost_trials()
    with study.locked():  # another command may find the same runs
        studies.reconcile(study.id, _state_teller(study, confirmation))


def _state_teller(
    study: Study, confirmation: Study
) -> Callable[[], Callable[[str, int, str], str]]:
    """Return what `studies.reconcile` asks for the present states of a search's trials."""
    both = {"search": study, "confirmation": confirmation}

    def states() -> Callable[[str, int, str], str]:
        known = {
            (stage, trial.number): (trial.state, trial.user_attrs.get("run"))
            for stage, one in both.items()
            for trial in one.trials()
        }

        def state_of(stage: str, number: int, run_id: str) -> str:
            state, own = known.get((stage, number), ("lost", None))
            return state if own in (None, run_id) else "lost"

        return state_of

    return states


def finalists(trials: list[Trial], number: int) -> list[Trial]:
    """Return the trials with the highest validation Dice, no parameters twice."""
    best: list[Trial] = []
    complete = [trial for trial in trials if trial.state == "complete"]
    for trial in sorted(complete, key=lambda t: (-(t.value or 0.0), t.number)):
        if len(best) < number and trial.params not in [other.params for other in best]:
            best.append(trial)
    return best


def planned(trials: list[Trial]) -> int:
    """Return how many trials of a study of confirmations are to count."""
    return sum("retry_of" not in trial.user_attrs for trial in trials)


def plan(job: SearchJob, study: Study, confirmation: Study) -> None:
    """Have the finalists and train's defaults trained again. For who holds the study's lock."""
    chosen = finalists(study.trials(), job.confirm)
    if not chosen:
        return
    candidates: list[tuple[int, str, Mapping[str, Value]]] = [
        (trial.number, f"trial {trial.number}", trial.params) for trial in chosen
    ]
    default = {name: job.options[name] for name in job.space}
    candidates.append((DEFAULTS, "train's defaults", default))
    first = int(job.options["seed"])
    confirmation.enqueue(
        [
            (
                {"candidate": number, "seed": (first + 1 + step) % _SEEDS},
                {"label": label, "params": dict(params)},
            )
            for step in range(CONFIRMATIONS)
            for number, label, params in candidates
        ]
    )


def register(study: Study, trial: Trial, model_name: str) -> versions.VersionRef | None:
    """Register the model of a complete trial, if nobody has; None where it was dropped since."""
    tags = {
        **trial.user_attrs["tags"],
        "study": study.place.name,
        "study.id": study.id,
        "trial": str(trial.number),
        "purpose": "trial",
    }
    with study.locked():
        if trial.number in dropped(study):
            return None
        registered = versions.register(
            trial.user_attrs["model"], model_name, trial.user_attrs["described"], tags
        )
        versions.describe_model(model_name, model_card.model(model_name, trial.user_attrs["data"]))
    return registered


def dropped(study: Study) -> list[int]:
    """Return the numbers of the trials whose models were deleted on purpose."""
    return list(study.get_attr("dropped") or [])
