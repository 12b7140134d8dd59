"""Runs that say RUNNING: which of them live, and which were left by a process that is gone."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator

import mlflow
from mlflow.entities import Run, ViewType

from segmentation.tracking.runs.heartbeat import GRACE_PERIOD, HEARTBEAT_INTERVAL, ProcessInfo
from segmentation.tracking.runs.run_folder import RunFolder
from segmentation.tracking.store import paginate

ALIVE, DEAD, UNREACHABLE, UNKNOWN = "alive", "gone", "silent", "unknown"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunningRun:
    """A run that says RUNNING.

    Attributes:
        id, name: MLflow's.
        training: whether it is a training with which `train` can go on.
        verdict: `alive`, `gone` (its process was looked for and is not there), `silent` (its
            machine cannot be asked, and gives no sign of life any more), or `unknown` (it never
            gave one: it is not for us to judge).
        why: in words.
        sign: the last one of life.
    """

    id: str
    name: str
    training: bool
    verdict: str
    why: str
    sign: ProcessInfo | None

    @property
    def dead(self) -> bool:
        """Whether nobody writes it any more."""
        return self.verdict in (DEAD, UNREACHABLE)


def find_running(wait: Callable[[float], None]) -> list[RunningRun]:
    """Return all runs that say RUNNING, each with what is known of its process.

    One of another machine that was silent for long is looked at twice: its clock may differ from
    ours, and the store may have been away.

    Args:
        wait: waits for so many seconds, before the second look; called only if there is one.
    """
    own = os.environ.get("MLFLOW_RUN_ID")  # opened by `mlflow run` for this very program
    suspects = [_judge(run) for run in _running() if run.info.run_id != own]
    silent = {one.id for one in suspects if one.verdict == UNREACHABLE}
    if not silent:
        return suspects
    client = mlflow.MlflowClient()
    wait(2.5 * HEARTBEAT_INTERVAL)
    found = []
    for one in suspects:
        if one.id in silent:
            run = client.get_run(one.id)
            if run.info.status != "RUNNING":  # it came to its end meanwhile
                continue
            if ProcessInfo.of(run.data.tags) != one.sign:
                one = dataclasses.replace(one, verdict=ALIVE, why="it gives signs of life")
        found.append(one)
    return found


def end(suspect: RunningRun) -> bool:
    """End a run that nobody writes any more, as FAILED; return whether it still said RUNNING."""
    client = mlflow.MlflowClient()
    run = client.get_run(suspect.id)
    now = _judge(run)
    if run.info.status != "RUNNING" or now.verdict == ALIVE or now.sign != suspect.sign:
        return False  # it came to its end, or somebody goes on with it
    client.set_tag(suspect.id, "failure", f"it was left RUNNING: {suspect.why}")
    client.set_terminated(suspect.id, "FAILED")
    return True


def _running() -> Iterator[Run]:
    client = mlflow.MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments(ViewType.ACTIVE_ONLY)]
    return paginate(
        lambda token: client.search_runs(
            experiments, "attributes.status = 'RUNNING'", page_token=token
        )
    )


def _judge(run: Run) -> RunningRun:
    sign = ProcessInfo.of(run.data.tags)
    verdict, why = _verdict(run.info.run_id, sign)
    return RunningRun(
        id=run.info.run_id,
        name=str(run.info.run_name),
        training="settings" in run.data.tags,
        verdict=verdict,
        why=why,
        sign=sign,
    )


def _verdict(run_id: str, sign: ProcessInfo | None) -> tuple[str, str]:
    if sign is None:
        return UNKNOWN, "it never gave a sign of life"
    ago = max(0.0, time.time() - sign.seen)
    heard = (
        f"last heard of {ago:.0f} s ago" if ago < 120 else f"last heard of {ago / 60:.0f} min ago"
    )
    if sign.is_local():
        if sign.is_alive() or RunFolder(run_id).is_locked():
            return ALIVE, f"process {sign.pid} of this machine writes it"
        return DEAD, f"process {sign.pid} of this machine is gone, {heard}"
    if ago < GRACE_PERIOD:
        return ALIVE, f"process {sign.pid} of {sign.host} was {heard}"
    return UNREACHABLE, f"process {sign.pid} of {sign.host} gives no sign of life, {heard}"
