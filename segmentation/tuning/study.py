"""A study: trials that are claimed one at a time, run once each, and tried again when lost.

A trial that ended badly has either a reason, kept in its attribute `failure`, or none: then its
process vanished, or was stopped, which `stopped` tells, and the same parameters are tried again as
another trial. So the number of trials that count is exact, whatever was killed and whenever.
"""

import dataclasses
import datetime
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from segmentation.errors import ConfigError
from segmentation.tuning.space import Choices, Dimension, Space, Value
from segmentation.tuning.storage import (
    StudyLocation,
    WorkerLock,
    live_workers,
    open_storage,
    study_lock,
)

#: So often the same parameters are tried when their process vanishes.
TRIES = 3
#: Under this key a study keeps the command that goes on with it.
COMMAND = "command"


class Pruned(Exception):  # noqa: N818 - it stops, nothing is wrong
    """Raised by a trial that is stopped since others did better."""


class Failed(Exception):  # noqa: N818 - the trial did, not the program
    """Raised by a trial that cannot be run; the message is the reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What is known of one trial.

    Attributes:
        number: Optuna's.
        state: `waiting`, `running`, `complete`, `pruned`, `failed`, or `lost`: its process ended
            before it did, and it is tried again.
        params: by the parameters' names.
        value: what is maximised; of a pruned trial the last one reported.
        reports: how many values were reported.
        began, ended: local times.
        notes: what was noted on it.
    """

    number: int
    state: str
    params: dict[str, Value]
    value: float | None
    reports: int
    began: datetime.datetime | None
    ended: datetime.datetime | None
    user_attrs: dict[str, Any]

    @property
    def counts(self) -> bool:
        """Whether it is one of those that were asked for."""
        return self.state in ("running", "complete", "pruned", "failed")

    @property
    def finished(self) -> bool:
        """Whether it counts and has ended."""
        return self.counts and self.state != "running"

    @property
    def seconds(self) -> float:
        """Its wall time; 0 while it is not known."""
        return (self.ended - self.began).total_seconds() if self.ended and self.began else 0.0


class RunningTrial:
    """A trial while it runs."""

    def __init__(self, trial: optuna.Trial, params: dict[str, Value]) -> None:
        """Wrap Optuna's."""
        self._trial = trial
        self.number = trial.number
        self.params = params

    def enqueue(self) -> dict[str, Any]:
        """Return the notes with which it was planned."""
        return dict(self._trial.user_attrs["plan"])

    def set_attr(self, key: str, value: Any) -> None:
        """Keep something that JSON can hold with the trial."""
        self._trial.set_user_attr(key, value)

    def report(self, step: int, value: float) -> bool:
        """Report what has been reached; return whether the pruner would stop here."""
        self._trial.report(value, step)
        return self._trial.should_prune()


class Study:
    """One study in its storage."""

    def __init__(
        self,
        place: StudyLocation,
        space: Space,
        seed: int,
        pruner: optuna.pruners.BasePruner | None,
    ) -> None:
        """Open it, making it where it is new.

        Args:
            place: where it is kept.
            space: what is searched.
            seed: of the sampler.
            pruner: stops trials early; None for a study that never does.

        Raises:
            TrackingError: the storage cannot be used.
        """
        pruner = pruner or optuna.pruners.NopPruner()
        self.place, self.space = place, space
        self._seed = seed
        self._storage = open_storage(place)
        with self.locked():
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=place.name,
                direction="maximize",
                pruner=pruner,
                load_if_exists=True,
            )
            if "id" not in self._study.user_attrs:
                self._study.set_user_attr("id", uuid.uuid4().hex)
        #: Tells this study from others of the same name in other storages.
        self.id = str(self._study.user_attrs["id"])

    @classmethod
    def known(cls, place: StudyLocation) -> "Study | None":
        """Open a study as it was begun, to look at it; None if it is not there.

        Args:
            place: where it is kept; how often signs of life come is taken from the study.

        Raises:
            TrackingError: the storage cannot be used.
        """
        if place.name not in optuna.get_all_study_names(storage=open_storage(place)):
            return None
        study = cls(place, {}, 0, None)
        heartbeat = (study.get_attr("settings") or {}).get("heartbeat", place.heartbeat)
        return cls(dataclasses.replace(place, heartbeat=heartbeat), {}, 0, None)

    @property
    def optuna(self) -> optuna.Study:
        """Optuna's own, for its plots."""
        return self._study

    def sibling(self, suffix: str, space: Space) -> "Study":
        """Return a second study beside this one, without a pruner."""
        place = dataclasses.replace(self.place, name=f"{self.place.name}{suffix}")
        if not place.shared:
            address = f"{self.place.address.removesuffix('.journal')}{suffix}.journal"
            place = dataclasses.replace(place, address=address)
        return Study(place, space, self._seed, None)

    def locked(self) -> AbstractContextManager[None]:
        """Let one process at a time, of all that share the study, decide what is done next."""
        return study_lock(self.place)

    def require_settings(self, settings: Mapping[str, Any]) -> None:
        """Keep the settings with a new study, or compare them with those of the first command.

        Raises:
            ConfigError: they differ; the message names how.
        """
        with self.locked():
            kept = self._study.user_attrs.get("settings")
            if kept is None:
                self._study.set_user_attr("settings", dict(settings))
                return
        changed = [
            f"{name}={settings.get(name)} (there it is {kept.get(name)})"
            for name in {**kept, **settings}
            if settings.get(name) != kept.get(name)
        ]
        if changed:
            raise ConfigError(
                f"study={self.place.name} was begun with other settings: {', '.join(changed)}; go "
                "on with its own, or give another `study`"
            )

    def get_attr(self, key: str) -> Any:
        """Return what was kept with the study, or None."""
        return self._study.user_attrs.get(key)

    def set_attr(self, key: str, value: Any) -> None:
        """Keep something that JSON can hold with the study."""
        self._study.set_user_attr(key, value)

    def trials(self) -> list[Trial]:
        """Return all trials by number."""
        return [_trial(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def enqueue(self, wanted: Sequence[tuple[dict[str, Value], dict[str, Any]]]) -> None:
        """Have some parameters tried, each with its notes; those planned already are not again.

        For who holds the lock.
        """
        planned = [
            frozen.system_attrs.get("fixed_params")
            for frozen in self._study.get_trials(deepcopy=False)
        ]
        for params, notes in wanted:
            if params not in planned:
                self._study.enqueue_trial(params, user_attrs={"plan": notes})

    def requeue_lost_trials(self) -> None:
        """End trials whose process is gone and have them tried again. For who holds the lock."""
        optuna.storages.fail_stale_trials(self._study)  # what gives no sign of life any more
        alive = set() if self.place.shared else live_workers(self.place)
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            # Without a worker it died while it was being claimed: who claims holds the lock.
            worker = frozen.user_attrs.get("worker")
            if worker is None or not (self.place.shared or worker in alive):
                self._study.tell(frozen.number, state=TrialState.FAIL, skip_if_finished=True)
        trials = self.trials()
        again = {trial.user_attrs.get("retry_of") for trial in trials}
        for trial in trials:
            if trial.state == "lost" and trial.number not in again:
                kept = {key: trial.user_attrs[key] for key in trial.user_attrs if key == "plan"}
                tries = _tries(trial.user_attrs) + (0 if trial.user_attrs.get("stopped") else 1)
                self._study.enqueue_trial(
                    trial.params, user_attrs={**kept, "retry_of": trial.number, "tries": tries}
                )

    def run_next(
        self, total: int, presence: WorkerLock, run: Callable[[RunningTrial], float]
    ) -> Trial | None:
        """Claim a trial and run it, unless `total` are done or running.

        Args:
            total: how many trials are to count in all.
            presence: this process's.
            run: returns the value; raises `Pruned` or `Failed`, which are noted, or something
                else, after which the trial counts as lost.

        Returns:
            The trial, or None where nothing was left to claim.
        """
        number, ran = -1, False
        with ExitStack() as claim:
            claim.enter_context(self.locked())
            self.requeue_lost_trials()
            if sum(trial.counts for trial in self.trials()) >= total:
                return None

            def attempt(trial: optuna.Trial) -> float:
                nonlocal number, ran
                number = trial.number
                params = {name: _suggest(trial, name, dim) for name, dim in self.space.items()}
                if self.place.shared:  # so that no moment is left in which nobody would miss it
                    self._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
                trial.set_user_attr("worker", presence.id)
                claim.close()  # from here on others may claim
                try:
                    value = run(RunningTrial(trial, params))
                except Pruned as pruned:
                    ran = True
                    raise optuna.TrialPruned(str(pruned)) from pruned
                except optuna.exceptions.UpdateFinishedTrialError:
                    ran = True
                    raise
                except Failed as failed:
                    ran = True
                    trial.set_user_attr("failure", str(failed))
                    raise
                except BaseException:
                    # Stopped, or stopped short by what is not its fault: that is not counted
                    # against it. Where even this cannot be kept, the first error matters more.
                    with suppress(Exception):
                        trial.set_user_attr("stopped", True)
                    raise
                ran = True
                return value

            # Seeded by how many there are: the draws do not depend on who makes them.
            seed = np.random.SeedSequence([self._seed, len(self._study.get_trials(deepcopy=False))])
            self._study.sampler = optuna.samplers.TPESampler(seed=int(seed.generate_state(1)[0]))
            try:
                self._study.optimize(attempt, n_trials=1, catch=(Failed,))
            except (ValueError, AssertionError, optuna.exceptions.UpdateFinishedTrialError):
                # Others have taken the trial over, since our heartbeats did not come: its end is
                # not ours to tell any more. Optuna says so in each of these ways.
                if not ran:
                    raise
        return self.trials()[number]


def _suggest(trial: optuna.Trial, name: str, dimension: Dimension) -> Value:
    """Draw a value."""
    if isinstance(dimension, Choices):
        return cast(Value, trial.suggest_categorical(name, dimension.values))
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return trial.suggest_int(
            name, dimension.low, dimension.high, step=int(dimension.step or 1), log=False
        )
    return trial.suggest_float(
        name, dimension.low, dimension.high, step=dimension.step, log=dimension.log
    )


def _tries(notes: Mapping[str, Any]) -> int:
    return int(notes.get("tries", 1))


def _trial(frozen: FrozenTrial) -> Trial:
    """Read one of Optuna's."""
    notes = dict(frozen.user_attrs)
    states = {
        TrialState.WAITING: "waiting",
        TrialState.RUNNING: "running",
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
    }
    state = states[frozen.state]
    if state == "failed" and "failure" not in notes:
        if notes.get("stopped") or _tries(notes) < TRIES:
            state = "lost"
        else:
            notes["failure"] = (
                f"its process vanished {TRIES} times, the system's memory may be full"
            )
    value = frozen.value
    reported = frozen.intermediate_values
    if state == "pruned" and reported:
        value = reported[max(reported)]
    return Trial(
        number=frozen.number,
        state=state,
        # What is enqueued is known before it is drawn.
        params={**frozen.system_attrs.get("fixed_params", {}), **frozen.params},
        value=value,
        reports=len(reported),
        began=frozen.datetime_start,
        ended=frozen.datetime_complete,
        user_attrs=notes,
    )
