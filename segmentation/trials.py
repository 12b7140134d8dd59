"""What a worker of a search does: trials and confirmations, each a training in a run of its own."""

import contextlib
import dataclasses
import gc
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from segmentation.config import Config
from segmentation.devices import choose_compute
from segmentation.errors import DataError, TrainingError, out_of_memory
from segmentation.evaluation import Evaluation, judge
from segmentation.pets import Example
from segmentation.pipeline import (
    Setup,
    Trained,
    fit_and_judge,
    load_data,
    log_model,
    log_pictures,
    version_tags,
)
from segmentation.pixels import ExampleError, read_files
from segmentation.reports import EpochReport, FitResult, Samples, StopTraining
from segmentation.search_config import CONFIRMATION
from segmentation.sources import find_source
from segmentation.space import Range, Space, Value
from segmentation.tracking import descriptions, models, runs
from segmentation.tracking.store import connect
from segmentation.tuning.pruning import choose_pruner
from segmentation.tuning.storage import Place, Presence
from segmentation.tuning.study import Attempt, Failed, Pruned, Study, Trial

#: With so many seeds, other than that of the trials, each finalist is trained again.
CONFIRMATIONS = 2
DEFAULTS = -1
_SEEDS = 2**32
_POLL = 0.5  # seconds


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs to know; can be sent to another process.

    Attributes:
        place: where the study is kept.
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

    place: Place
    space: Space
    options: Mapping[str, Any]
    trial_epochs: int
    trials: int
    deadline: float | None
    confirm: int
    pruner: str
    digests: Mapping[str, str]
    parent: runs.Run
    model_name: str

    def study(self) -> Study:
        """Open the study."""
        seed = int(self.options["seed"])
        return Study(self.place, self.space, seed, choose_pruner(self.pruner, self.trial_epochs))

    def trial_config(self, params: Mapping[str, Value]) -> Config:
        """Return the settings of a trial."""
        return Config.from_options({**self.options, **params, "epochs": self.trial_epochs})

    def whole_config(self, params: Mapping[str, Value], seed: int) -> Config:
        """Return the settings of a whole training."""
        return Config.from_options({**self.options, **params, "seed": seed})


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
    return sum("retry_of" not in trial.notes for trial in trials)


def work(tell: Callable[[Any], None], job: Job) -> None:
    """Run trials until there are enough, then confirmations until they are done.

    Args:
        tell: called with (stage, number) of each trial that has ended.
        job: what to do.
    """
    connect()
    config = job.trial_config({})
    compute = choose_compute(config.training)
    source = find_source(config.data.source)
    with_gate = "gate" in job.digests
    data = load_data(config.data, source, lambda done, total: None, with_gate=with_gate)
    changed = [name for name, part in data.items() if part.digest != job.digests[name]]
    if changed:
        raise DataError(
            f"the images of {' and '.join(changed)} have changed since this command began; restore "
            "them, or begin another study"
        )
    gate = data.pop("gate").examples if with_gate else ()
    worker = _Worker(job, Setup.of(compute, source, data, job.model_name), gate, tell)
    study = job.study()
    worker.work_off(study, "search", lambda: job.trials)
    if not job.confirm:
        return
    confirmation = confirmations(study)
    with study.locked():
        plan(job, study, confirmation)
    worker.work_off(confirmation, "confirmation", lambda: planned(confirmation.trials()))


def plan(job: Job, study: Study, confirmation: Study) -> None:
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
    confirmation.plan(
        [
            (
                {"candidate": number, "seed": (first + 1 + step) % _SEEDS},
                {"label": label, "params": dict(params)},
            )
            for step in range(CONFIRMATIONS)
            for number, label, params in candidates
        ]
    )


class _Worker:
    """One process's trainings."""

    def __init__(
        self, job: Job, setup: Setup, gate: tuple[Example, ...], tell: Callable[[Any], None]
    ) -> None:
        self._job, self._setup, self._gate, self._tell = job, setup, gate, tell
        self._study_id = ""

    def work_off(self, study: Study, stage: str, total: Callable[[], int]) -> None:
        """Run what is left of a study, and wait for what others run: they may die."""
        presence = Presence(study.place)
        self._study_id = study.id
        run = self._trial if stage == "search" else self._confirmation
        deadline = self._job.deadline if stage == "search" else None
        try:
            while True:
                trial = None
                if deadline is None or time.time() < deadline:
                    trial = study.run_one(total(), presence, run)
                if trial is not None:
                    if trial.state == "complete" and stage == "search":
                        register(study, trial, self._setup.model_name)
                    self._tell((stage, trial.number))
                    continue
                with study.locked():
                    study.recover()
                    if not any(other.state == "running" for other in study.trials()):
                        return
                time.sleep(_POLL)
        finally:
            presence.close()

    def _trial(self, attempt: Attempt) -> float:
        """Run one trial of the search; return the validation Dice."""
        config = self._job.trial_config(attempt.params)
        pruning = _Pruning(attempt)
        name = f"trial {attempt.number}: {said(attempt.params)}"
        with (
            _failures(),
            runs.tracked_run(name, self._tags("search", attempt), self._job.parent) as run,
        ):
            attempt.note("run", run.id)
            trained = fit_and_judge(config, self._setup, [pruning], thumbnails=False)
            attempt.note("above_floors", trained.evaluation.above_floors())
            if pruning.reason:
                runs.log_final(trained.evaluation, trained.result.best_epoch)
                runs.tag("pruned", pruning.reason)
                run.status = "KILLED"
            else:
                self._note_model(attempt, trained, run.id)
            # MLflow draws the curves of a trial itself; a picture of them is for whole trainings.
            log_pictures(trained, with_curves=False)
        if pruning.reason:
            raise Pruned(pruning.reason)
        return trained.evaluation.counts.mean().dice

    def _confirmation(self, attempt: Attempt) -> float:
        """Train a finalist at full length with another seed; return its Dice on the gate split."""
        candidate = attempt.plan()
        config = self._job.whole_config(candidate["params"], int(attempt.params["seed"]))
        name = (
            f"confirmation of {candidate['label']}: {said(candidate['params'])}, seed "
            f"{config.training.seed}"
        )
        tags = {**self._tags("confirmation", attempt), "candidate": candidate["label"]}
        with _failures(), runs.tracked_run(name, tags, self._job.parent) as run:
            attempt.note("run", run.id)
            trained = fit_and_judge(config, self._setup, [])
            gallery = runs.Gallery()
            judged = judge(
                trained.segmenter,
                _contents(self._gate),
                config.data.border,
                self._setup.compute.device,
            )
            gate = Evaluation.of("gate", map(gallery.add, judged))
            runs.log_split(gate)
            gallery.log(gate)
            attempt.note("gate", [round(float(dice), 6) for dice in gate.counts.dice()])
            attempt.note("val", trained.evaluation.counts.mean().dice)
            attempt.note("above_floors", gate.above_floors())
            self._note_model(attempt, trained, run.id)
            log_pictures(trained)
        return gate.counts.mean().dice

    def _tags(self, stage: str, attempt: Attempt) -> dict[str, str]:
        return self._setup.tags() | {
            "study": self._job.place.name,
            "study.id": self._study_id,
            "stage": stage,
            "trial": str(attempt.number),
        }

    def _note_model(self, attempt: Attempt, trained: Trained, run_id: str) -> None:
        """Log the model, and note what registering it takes, whoever comes to do it."""
        attempt.note("model", log_model(trained, self._setup))
        attempt.note("described", trained.story.version(run_id))
        attempt.note("tags", version_tags(trained, self._setup, run_id))
        attempt.note("data", trained.story.data)


def register(study: Study, trial: Trial, model_name: str) -> models.Registered | None:
    """Register the model of a complete trial, if nobody has; None where it was dropped since."""
    tags = {
        **trial.notes["tags"],
        "study": study.place.name,
        "study.id": study.id,
        "trial": str(trial.number),
        "purpose": "trial",
    }
    with study.locked():
        if trial.number in dropped(study):
            return None
        registered = models.register(
            trial.notes["model"], model_name, trial.notes["described"], tags
        )
        models.introduce(model_name, descriptions.model(model_name, trial.notes["data"]))
    return registered


def dropped(study: Study) -> list[int]:
    """Return the numbers of the trials whose models were deleted on purpose."""
    return list(study.recall("dropped") or [])


def _contents(examples: tuple[Example, ...]) -> Iterator[tuple[Example, tuple[bytes, bytes]]]:
    """Read the files of some examples, one at a time."""
    for example in examples:
        try:
            yield example, read_files(example)
        except ExampleError as error:
            raise DataError("an image of the gate split cannot be used:", [str(error)]) from error


class _Pruning:
    """Reports each epoch to the study and stops when the pruner would."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.reason = ""

    def on_fit_start(self, samples: Samples) -> None:
        """Do nothing."""

    def on_epoch_end(self, report: EpochReport) -> None:
        """Stop after an epoch that is not promising, if there are others to come."""
        if self._attempt.report(report.epoch, report.val.dice) and report.epoch < report.epochs:
            self.reason = f"pruned after epoch {report.epoch}: other trials did better by then"
            raise StopTraining(self.reason)

    def on_fit_end(self, result: FitResult) -> None:
        """Do nothing."""


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turn what other parameters would not have run into into `Failed`."""
    try:
        yield
    except TrainingError as error:
        raise Failed(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # which hold the tensors
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise Failed("memory ran out") from error


def said(params: Mapping[str, Value]) -> str:
    """Return parameters in a few words, such as `width 16, lr 0.004`."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in params.items()
    )
