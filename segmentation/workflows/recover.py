"""After something broke: what was left is delivered, ended, and told how to go on with."""

import logging
import time

from segmentation.config.search import SearchConfig
from segmentation.errors import ConfigError, TrackingError, first_line
from segmentation.tracking import commands
from segmentation.tracking.project_run import open_store
from segmentation.tracking.runs import stale
from segmentation.tracking.runs.run_folder import RunFolder, run_folders
from segmentation.tracking.runs.training_run import deliver
from segmentation.tracking.store import StoreError, studies_folder
from segmentation.tuning.storage import StudyLocation, study_location
from segmentation.tuning.study import COMMAND, Study
from segmentation.workflows.tune.job import requeue_lost_trials

_log = logging.getLogger(__name__)


def recover(storage: str, study: str, *, act: bool) -> None:
    """Deliver what waits, end what is dead, and say how to go on with each; or only tell of it.

    With the storage `file` all studies beside the tracking store are looked at.
    """
    open_store(writes=False)
    delivered = [_deliver(folder, act=act) for folder in run_folders() if folder.is_left()]
    running = stale.find_running(_wait)
    dead = [_end(run, act=act) for run in running]
    folder, heartbeat = studies_folder(), SearchConfig().heartbeat
    names = [path.stem for path in sorted(folder.glob("*.db"))] if storage == "file" else [study]
    locations = [study_location(name, storage, folder, heartbeat) for name in names]
    lost = [_recover_study(location, act=act) for location in locations]
    found = len(delivered) + sum(dead) + sum(lost)
    if failed := delivered.count(False):
        raise TrackingError(
            f"{failed} of {found} could not be recovered: see above; what waits is kept"
        )
    if not found:
        unsure = any(run.verdict == stale.UNKNOWN for run in running)
        _log.info("Nothing%s is left to recover", " else" if unsure else "")
    elif not act:
        _log.info("Nothing was changed; say end=true to have it done")


def _deliver(folder: RunFolder, *, act: bool) -> bool:
    """Upload what waits of a run; return whether that went well."""
    run_id, count = folder.run_id, len(folder.pending())
    if not act:
        _log.info("Waits:  %d entries of run %s are to be delivered", count, run_id)
        return True
    try:
        status, registered = deliver(folder)
    except (TrackingError, StoreError) as error:
        told = first_line(error)
        _log.info("Waits:  %d entries of run %s cannot be delivered: %s", count, run_id, told)
        return False
    end = f"; it is {status}" if status else ""
    _log.info("Delivered: %d entries of run %s%s", count, run_id, end)
    if registered is not None:
        _log.info(
            "  Registered: %s, @challenger; `%s` lets it contend for champion (give the `data` "
            "too, unless it is the default)",
            registered.uri,
            commands.mlflow_run("promote", {"model": registered.uri}),
        )
    return True


def _end(run: stale.RunningRun, *, act: bool) -> bool:
    """End a run whose process is gone; return whether it was."""
    if run.verdict == stale.ALIVE:
        _log.info("Alive:  %s (%s): %s; left alone", run.name, run.id, run.why)
    elif not run.dead:
        _log.info(
            "Unsure: %s (%s): %s; left alone, it can be ended in `mlflow ui` or deleted by `mlflow "
            "runs delete`",
            run.name,
            run.id,
            run.why,
        )
    elif not act or stale.end(run):
        ended = "ended as FAILED" if act else "is to be ended"
        _log.info("Dead:   %s (%s): %s; %s", run.name, run.id, run.why, ended)
        if run.training:
            _log.info("  Go on: %s", commands.resume(run.id))
    return run.dead


def _recover_study(location: StudyLocation, *, act: bool) -> bool:
    """Have lost trials of a study tried again; return whether there were any."""
    study = Study.find(location)
    if study is None and location.shared:
        raise ConfigError(f"study={location.name}: there is no such study in {location.address}")
    before = _running(study) if study else 0
    if study is None or not before:
        return False
    if not act:
        _log.info(
            "Study:  %s: %d trials say RUNNING; dead ones are to be ended", location.name, before
        )
        return True
    requeue_lost_trials(study)
    living = _running(study)
    lost = before - living
    alive = f"; {living} alive or lost too recently to tell, left alone" if living else ""
    _log.info("Study:  %s: %d trials were lost, to be tried again%s", location.name, lost, alive)
    if lost and (command := study.user_attrs.get(COMMAND)):
        _log.info("  Go on: %s", command)
    return lost > 0


def _running(study: Study) -> int:
    trials = [*study.trials(), *study.confirmations.trials()]
    return sum(trial.state == "running" for trial in trials)


def _wait(seconds: float) -> None:
    _log.info("Looking a second time, %.0f s from now, at silent runs of other machines", seconds)
    time.sleep(seconds)
