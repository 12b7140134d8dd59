"""Runs that say RUNNING: which of them live, and which were left by a process that is gone."""

import dataclasses
import os
import time
from collections.abc import Callable

import mlflow
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from segmentation.tracking.commands import resume
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.runs.heartbeat import GRACE_PERIOD, HEARTBEAT_INTERVAL, ProcessInfo
from segmentation.tracking.runs.run import end_tags
from segmentation.tracking.runs.run_folder import RunFolder
from segmentation.tracking.store import find_runs
from segmentation.tracking.tags import SETTINGS, read

ALIVE, DEAD, UNREACHABLE, UNKNOWN = "alive", "gone", "silent", "unknown"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunningRun:
    """A run that says RUNNING."""

    id: str
    name: str
    #: Whether it is a training with which `train` can go on.
    training: bool
    #: The last one of life.
    sign: ProcessInfo | None
    #: `alive`, `gone` (its process was looked for and is not there), `silent` (its machine cannot
    #: be asked, and gives no sign of life any more), or `unknown` (it never gave one: it is not for
    #: us to judge).
    verdict: str
    why: str

    @property
    def dead(self) -> bool:
        """Whether nobody writes it any more."""
        return self.verdict in (DEAD, UNREACHABLE)


def find_running(wait: Callable[[float], None]) -> list[RunningRun]:
    """Return all runs that say RUNNING, each with what is known of its process.

    A process of this machine is looked for. One of another machine counts as gone when no sign of
    life came for `GRACE_PERIOD` and then none for two more intervals: its clock may differ from
    ours, and the store may have been away, so only a sign that does not change tells. `wait` waits
    for so many seconds before the second look, if there is one.
    """
    own = os.environ.get("MLFLOW_RUN_ID")  # opened by `mlflow run` for this very program
    running = find_runs("attributes.status = 'RUNNING'")
    found = [judge(run) for run in running if run.info.run_id != own]
    if any(one.verdict == UNREACHABLE for one in found):
        wait(2.5 * HEARTBEAT_INTERVAL)
    again = [_again(one) if one.verdict == UNREACHABLE else one for one in found]
    return [one for one in again if one is not None]


def _again(suspect: RunningRun) -> RunningRun | None:
    """Look at a run a second time; None where it came to its end meanwhile."""
    run = mlflow.MlflowClient().get_run(suspect.id)
    if run.info.status != "RUNNING":
        return None
    if ProcessInfo.of(run.data.tags) != suspect.sign:
        return dataclasses.replace(suspect, verdict=ALIVE, why="it gives signs of life")
    return suspect


def end(suspect: RunningRun) -> bool:
    """End a run that nobody writes any more, as FAILED; return whether it still said RUNNING."""
    client = mlflow.MlflowClient()
    run = client.get_run(suspect.id)
    now = judge(run)
    if run.info.status != "RUNNING" or now.verdict == ALIVE or now.sign != suspect.sign:
        return False  # it came to its end, or somebody goes on with it
    go_on = resume(suspect.id) if suspect.training else ""
    tags = end_tags(f"it was left RUNNING: {suspect.why}", go_on)
    if not go_on and run.data.tags.get(MLFLOW_RUN_NOTE):  # which tells more
        del tags[MLFLOW_RUN_NOTE]
    MlflowSink(suspect.id).put("tags", tags)
    client.set_terminated(suspect.id, "FAILED")
    return True


def judge(run: Run) -> RunningRun:
    """Tell whether a process still writes a run that says RUNNING."""
    run_id, sign = run.info.run_id, ProcessInfo.of(run.data.tags)
    verdict, why = _verdict(run_id, sign)
    training = SETTINGS in read(run.data.tags)
    name = str(run.info.run_name)
    return RunningRun(id=run_id, name=name, training=training, sign=sign, verdict=verdict, why=why)


def _verdict(run_id: str, sign: ProcessInfo | None) -> tuple[str, str]:
    if sign is None:
        return UNKNOWN, "it never gave a sign of life"
    ago = max(0.0, time.time() - sign.seen)
    heard = f"last heard of {f'{ago:.0f} s' if ago < 120 else f'{ago / 60:.0f} min'} ago"
    if sign.is_local():
        if sign.is_alive() or RunFolder(run_id).is_locked():
            return ALIVE, f"process {sign.pid} of this machine writes it"
        return DEAD, f"process {sign.pid} of this machine is gone, {heard}"
    if ago < GRACE_PERIOD:
        return ALIVE, f"process {sign.pid} of {sign.host} was {heard}"
    return UNREACHABLE, f"process {sign.pid} of {sign.host} gives no sign of life, {heard}"
