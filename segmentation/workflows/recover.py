"""After something broke: what was left is delivered, ended, and told how to go on with."""

import time
from collections.abc import Callable

from segmentation.config.search import SearchConfig
from segmentation.errors import ConfigError
from segmentation.tracking import commands
from segmentation.tracking.runs import pending_uploads, stale
from segmentation.tracking.store import studies_folder
from segmentation.tuning.storage import StudyLocation, study_location
from segmentation.tuning.study import COMMAND, Study
from segmentation.workflows.tune.job import requeue_lost_trials

#: Told one line at a time.
Say = Callable[[str], None]


def recover(say: Say, storage: str, study: str, *, act: bool) -> tuple[int, int]:
    """Deliver what waits, end what is dead, and say how to go on with each.

    Args:
        say: told a line for each thing found.
        storage: `file`, or the address of a study's storage.
        study: its name there; with `file` all studies beside the tracking store are looked at.
        act: whether to do it; else it is only told.

    Returns:
        How many things were found, and how many of them could not be mended.
    """
    found = failed = 0
    for run_id, count in list(pending_uploads.pending()):
        found += 1
        failed += not _deliver(run_id, count, say, act=act)
    if others := pending_uploads.other_stores():
        say(
            f"Waits:  something of {others} run(s) of other tracking stores; set "
            "MLFLOW_TRACKING_URI to theirs and recover there"
        )
    for suspect in stale.find_running(_patiently(say)):
        if suspect.verdict == stale.ALIVE:
            say(f"Alive:  {suspect.name} ({suspect.id}): {suspect.why}; left alone")
        elif not suspect.dead:
            say(
                f"Unsure: {suspect.name} ({suspect.id}): {suspect.why}; left alone, it can be "
                "ended in `mlflow ui` or deleted by `mlflow runs delete`"
            )
        else:
            found += 1
            _end(suspect, say, act=act)
    folder = studies_folder()
    names = [path.stem for path in sorted(folder.glob("*.db"))] if storage == "file" else [study]
    for name in names:
        location = study_location(name, storage, folder, SearchConfig().heartbeat)
        found += _recover_study(location, say, act=act)
    return found, failed


def _deliver(run_id: str, count: int, say: Say, *, act: bool) -> bool:
    if not act:
        say(f"Waits:  {count} entries of run {run_id} are to be delivered")
        return True
    done = pending_uploads.deliver(run_id, say)
    if done.problem:
        say(f"Waits:  {count} entries of run {run_id} cannot be delivered: {done.problem}")
        return False
    end = f"; it is {done.status}" if done.status else ""
    say(f"Delivered: {done.entries} entries of run {run_id}{end}")
    if done.registered is not None:
        promote = commands.mlflow_run("promote", {"model": done.registered.uri})
        say(
            f"  Registered: {done.registered.uri}, @challenger; `{promote}` lets it contend for "
            "champion (give the `data` too, unless it is the default)"
        )
    return True


def _end(suspect: stale.RunningRun, say: Say, *, act: bool) -> None:
    ended = "ended as FAILED" if act else "is to be ended"
    if act and not stale.end(suspect):
        return
    say(f"Dead:   {suspect.name} ({suspect.id}): {suspect.why}; {ended}")
    if suspect.training:
        say(f"  Go on: {commands.resume(suspect.id)}")


def _recover_study(location: StudyLocation, say: Say, *, act: bool) -> int:
    """Have lost trials of a study tried again; return whether there were any."""
    study = Study.find(location)
    if study is None:
        raise ConfigError(f"study={location.name}: there is no such study in {location.address}")
    before = _running(study)
    if not before:
        return 0
    if not act:
        say(f"Study:  {location.name}: {before} trials say RUNNING; lost ones are to be ended")
        return 1
    requeue_lost_trials(study)
    living = _running(study)
    lost = before - living
    alive = f"; {living} alive or lost too recently to tell, left alone" if living else ""
    say(f"Study:  {location.name}: {lost} trials were lost, to be tried again{alive}")
    if lost and (command := study.user_attrs.get(COMMAND)):
        say(f"  Go on: {command}")
    return int(lost > 0)


def _running(study: Study) -> int:
    trials = [*study.trials(), *study.confirmations.trials()]
    return sum(trial.state == "running" for trial in trials)


def _patiently(say: Say) -> Callable[[float], None]:
    def wait(seconds: float) -> None:
        say(f"Looking a second time, {seconds:.0f} s from now, at runs of machines that are silent")
        time.sleep(seconds)

    return wait
