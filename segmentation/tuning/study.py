"""A study: exactly as many trials as are asked for, whatever is killed and whenever.

Who claims a trial holds the study's lock, so that the trials that run or have ended are counted
before another begins. While it runs, its process records heartbeats. When they fail to come, or
when the process was stopped, the trial is marked FAIL and its parameters are enqueued again, as
another trial: the first one is `lost`, and does not count. A trial that failed by itself has the
reason in its attribute `failure`, and counts.
"""

import contextlib
import copy
import dataclasses
import datetime
import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from segmentation.config.search import CONFIRMATION
from segmentation.errors import ConfigError, TrainingError
from segmentation.tuning.space import Space, Value
from segmentation.tuning.storage import StudyLocation, open_storage, study_lock
from segmentation.utils.concurrency import repeating

#: So often the same parameters are tried when their process vanishes.
TRIES = 3
#: Under this key a study keeps the command that goes on with it.
COMMAND = "command"

#: A trial while it runs, as Optuna has it.
RunningTrial = optuna.Trial


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What is known of one trial.

    Its state is `waiting`, `running`, `complete`, `pruned`, `failed`, or `lost`: its process ended
    before it did, and its parameters are tried again.
    """

    number: int  # Optuna's
    state: str
    params: dict[str, Value]
    value: float | None  # what is maximized; of a pruned trial the last one reported
    reports: int  # how many values were reported
    ended: datetime.datetime  # local time; `datetime.max` while it has not
    seconds: float  # its wall time; 0 while it is not known
    user_attrs: dict[str, Any]

    @property
    def counts(self) -> bool:
        """Whether it is one of those that were asked for."""
        return self.state in ("running", "complete", "pruned", "failed")

    @property
    def finished(self) -> bool:
        return self.counts and self.state != "running"


class Study:
    """One study in its storage."""

    def __init__(
        self,
        location: StudyLocation,
        space: Space | None = None,
        seed: int = 0,
        pruner: optuna.pruners.BasePruner | None = None,
    ) -> None:
        """Open it, making it where it is new; without a space all parameters are enqueued.

        Raises:
            TrackingError: the storage cannot be used.
        """
        self.location, self.space = location, space or {}
        self._seed = seed
        self._storage = open_storage(location)
        with self.lock():
            self.optuna = optuna.create_study(
                storage=self._storage,
                study_name=location.name,
                direction="maximize",
                pruner=pruner or optuna.pruners.NopPruner(),
                load_if_exists=True,
            )
            if "id" not in self.user_attrs:
                self.optuna.set_user_attr("id", uuid.uuid4().hex)
        #: Tells this study from others of the same name in other storages.
        self.id = str(self.user_attrs["id"])

    @classmethod
    def find(cls, location: StudyLocation) -> "Study | None":
        """Open a study, with its own heartbeat, to look at it; None if there is none of this name.

        Raises:
            TrackingError: the storage cannot be used.
        """
        if not (location.shared or Path(location.address).exists()):
            return None
        if location.name not in optuna.get_all_study_names(storage=open_storage(location)):
            return None
        settings = cls(location).user_attrs.get("settings", {})
        heartbeat = settings.get("heartbeat", location.heartbeat)
        return cls(dataclasses.replace(location, heartbeat=heartbeat))

    @functools.cached_property
    def confirmations(self) -> "Study":
        """The study beside this one in which finalists are trained again."""
        name = f"{self.location.name}{CONFIRMATION}"
        return Study(dataclasses.replace(self.location, name=name))

    def lock(self) -> AbstractContextManager[None]:
        """Let one process at a time, of all that share the study, decide what is done next.

        The methods that need it take it themselves: none is for who holds it.
        """
        return study_lock(self.location, self.location.name)

    def require_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings with a new study; else raise a ConfigError where it has others."""
        with self.lock():
            kept = self.user_attrs.get("settings")
            if kept is None:
                self.optuna.set_user_attr("settings", dict(settings))
                return
        changed = [
            f"{name}={settings.get(name)} (there it is {kept.get(name)})"
            for name in {**kept, **settings}
            if settings.get(name) != kept.get(name)
        ]
        if changed:
            raise ConfigError(
                f"study={self.location.name} was begun with other settings: {', '.join(changed)}; "
                "go on with its own, or give another `study`"
            )

    @property
    def user_attrs(self) -> dict[str, Any]:
        """What is kept with the study, by `optuna.set_user_attr`."""
        return self.optuna.user_attrs

    def trials(self) -> list[Trial]:
        return [_trial(frozen) for frozen in self.optuna.get_trials(deepcopy=False)]

    def enqueue(self, wanted: Sequence[tuple[dict[str, Value], dict[str, Any]]]) -> None:
        """Have some parameters tried, each with its attribute `plan`, unless they are enqueued."""
        with self.lock():
            # Not by Optuna's skip_if_exists, for which large seeds are as good as equal.
            known = [trial.params for trial in self.trials()]
            for params, plan in wanted:
                if params not in known:
                    self.optuna.enqueue_trial(params, user_attrs={"plan": plan})

    def requeue_lost_trials(self) -> None:
        """Have the parameters of lost trials tried again."""
        with self.lock():
            self._requeue_lost_trials()

    def run_next(self, total: int, run: Callable[[RunningTrial], float | None]) -> Trial | None:
        """Claim a trial and run it, unless `total` are done or running; return it.

        `run` returns the value, or None where the trial was pruned. A `TrainingError` is the
        trial's failure, and is kept; after any other error, which is raised again, the trial counts
        as lost.
        """
        with self.lock():
            self._requeue_lost_trials()
            if sum(trial.counts for trial in self.trials()) >= total:
                return None
            trial = self._claim()
        # Where heartbeats did not come through, others have taken the trial over meanwhile: what
        # came of it here is dropped.
        with contextlib.suppress(UpdateFinishedTrialError):
            self._run(trial, run)
        return self.trials()[trial.number]

    def _requeue_lost_trials(self) -> None:
        # Not by Optuna's RetryHeartbeatStaleTrialCallback: it would copy what the lost trial has
        # kept, its run among it, count against a trial that it was stopped, and lose it where the
        # process is killed between marking it and enqueueing it.
        optuna.storages.fail_stale_trials(self.optuna)
        trials = self.trials()
        retried = {trial.user_attrs.get("retry_of") for trial in trials}
        for trial in trials:
            if trial.state == "lost" and trial.number not in retried:
                attrs = trial.user_attrs
                tries = _tries(attrs) + (0 if attrs.get("stopped") else 1)
                again = {"plan": attrs.get("plan"), "retry_of": trial.number, "tries": tries}
                self.optuna.enqueue_trial(trial.params, user_attrs=again)

    def _claim(self) -> RunningTrial:
        """Have the next trial begin, for who holds the lock: one that waits, else a new one.

        Its first heartbeat is recorded before it runs, so that there is no moment in which its
        process could vanish unnoticed. Optuna's `optimize` would begin them later.
        """
        if not self._waiting():
            self.optuna.enqueue_trial({})
        first = self._waiting()[0]
        self._storage.record_heartbeat(first._trial_id)
        # Seeded by the trial's number: what is drawn does not depend on who draws it.
        seed = np.random.SeedSequence([self._seed, first.number]).generate_state(1)
        self.optuna.sampler = optuna.samplers.TPESampler(seed=int(seed[0]))
        return self.optuna.ask(dict(self.space))

    def _waiting(self) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def _run(self, trial: RunningTrial, run: Callable[[RunningTrial], float | None]) -> None:
        try:
            beat = functools.partial(self._storage.record_heartbeat, trial._trial_id)
            with repeating(beat, self.location.heartbeat):
                value = run(trial)
        except TrainingError as error:
            trial.set_user_attr("failure", str(error))
            self._tell(trial, TrialState.FAIL)
        except BaseException:
            # Stopped, or ended by what is not its fault, which is not counted against it. Where
            # even this cannot be kept, the first error matters more.
            with contextlib.suppress(Exception):
                trial.set_user_attr("stopped", True)
                self._tell(trial, TrialState.FAIL)
            raise
        else:
            self._tell(trial, TrialState.PRUNED if value is None else TrialState.COMPLETE, value)

    def _tell(self, trial: RunningTrial, state: TrialState, value: float | None = None) -> None:
        with self.lock():  # SQLite would let others take it over between the check and the end
            self.optuna.tell(trial, value, state, skip_if_finished=True)


def choose_pruner(name: str, epochs: int) -> optuna.pruners.BasePruner | None:
    """Return a pruner for trials of so many epochs.

    `median` stops a trial that is below the median of the others at the same epoch; `halving` lets
    the better half of the trials pass a quarter and then half of the epochs (L. Li et al., "A
    System for Massively Parallel Hyperparameter Tuning", MLSys 2020); `none` stops none.
    """
    if name == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=max(1, epochs // 4))
    if name == "halving":
        return _HalvingPruner(min_resource=-(-epochs // 4), reduction_factor=2)
    return None


class _HalvingPruner(optuna.pruners.SuccessiveHalvingPruner):
    """Optuna's, for which failed trials and lost ones would compete."""

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        others = copy.copy(study)
        states = (TrialState.RUNNING, TrialState.PRUNED, TrialState.COMPLETE)
        others.get_trials = functools.partial(study.get_trials, states=states)  # type: ignore[method-assign]
        return super().prune(others, trial)


def _tries(user_attrs: Mapping[str, Any]) -> int:
    return int(user_attrs.get("tries", 1))


def _trial(frozen: FrozenTrial) -> Trial:
    state, attrs = frozen.state.name.lower(), dict(frozen.user_attrs)
    if state == "fail":
        again = "failure" not in attrs and (attrs.get("stopped") or _tries(attrs) < TRIES)
        state = "lost" if again else "failed"
        vanished = f"its process vanished {TRIES} times, the system's memory may be full"
        attrs.setdefault("failure", vanished)
    return Trial(
        number=frozen.number,
        state=state,
        # What is enqueued is known before it is drawn.
        params={**frozen.system_attrs.get("fixed_params", {}), **frozen.params},
        value=frozen.value,
        reports=len(frozen.intermediate_values),
        ended=frozen.datetime_complete or datetime.datetime.max,
        seconds=frozen.duration.total_seconds() if frozen.duration else 0.0,
        user_attrs=attrs,
    )
