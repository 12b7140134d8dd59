"""What `train` does: a training planned by the main process, run by all, registered by the main."""

import contextlib
import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from segmentation.config.training import FREE, Config
from segmentation.data.sources import absolute, resolve_source
from segmentation.errors import ConfigError, DataError, PeerLostError, TrainingError
from segmentation.evaluation.scoring import THRESHOLD, Evaluation
from segmentation.models.predictor import Batched
from segmentation.models.unet import build_unet
from segmentation.runtime.device import choose_compute
from segmentation.runtime.process_group import ProcessGroup, init_process_group
from segmentation.tracking.commands import after_training
from segmentation.tracking.project_run import require_own_run
from segmentation.tracking.registry import export
from segmentation.tracking.registry.versions import VersionRef
from segmentation.tracking.runs import resume
from segmentation.tracking.runs.rerun import LoggedTraining
from segmentation.tracking.runs.training_run import drop_checkpoints
from segmentation.tracking.store import connect
from segmentation.tracking.tags import SETTINGS
from segmentation.tracking.templates import render
from segmentation.training import checkpoint
from segmentation.training.callbacks import Callback
from segmentation.training.checkpoint import Checkpoint
from segmentation.training.time_budget import TimeBudget
from segmentation.utils.concurrency import Progress, ignore_progress, require_processors
from segmentation.workflows.promote import GateEvaluator
from segmentation.workflows.session import TrainingSession

_log = logging.getLogger(__name__)

_IMAGES = "images"  # among the settings of a run: the digests of its splits
_BUDGET_STATE = "pace"  # among the settings of a run: its budget as it was at the beginning


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What is to be trained; the same in all processes."""

    #: All parameters by their names, as the run keeps them.
    settings: Mapping[str, Any]
    #: The id of the run to go on in; empty: a new one.
    resume: str = ""
    #: What is to be said of it.
    lines: Sequence[str] = ()


def start_processes(
    options: Mapping[str, Any],
    given: Mapping[str, Any],
    processes: int,
    arguments: Sequence[str],
) -> int:
    """Run this program again in several processes of this machine; return the exit code.

    What would be wrong in each of them is looked for before. A TrainingError says that one of them
    was killed again and again.
    """
    from segmentation.runtime.launcher import launch

    connect(writes=not options["resume"])
    plan, _ = _plan(options, given, "")
    if plan is None:
        return 0
    config = Config.from_options(plan.settings)
    _require_shares(processes, config)
    if choose_compute(config.training, processes - 1).device.type == "cpu":
        require_processors("processes", processes)
    resolve_source(config.data)
    build_unet(config.model, config.training.seed)
    return launch("experiments.train", arguments, processes)


def _require_shares(processes: int, config: Config) -> None:
    if processes > (images := config.training.batch_size):
        raise ConfigError(
            f"processes={processes}: each takes its share of every batch, and with batch_size="
            f"{images} there are {images} at most; start fewer, or raise batch_size"
        )


def train(
    options: Mapping[str, Any],
    given: Mapping[str, Any],
    callbacks: Sequence[Callback] = (),
    progress: Progress = ignore_progress,
) -> tuple[str, str] | None:
    """Train, register the model, let it compete with the champion, and say how it went.

    Every process of a training calls it with the same options: the parameters by name, also
    `model_name`, `budget`, `like` and `resume`; `given` are those that the user gave.

    Returns:
        In the main process the run's id and the model's address; None where nothing was to be done.

    Raises:
        ConfigError: a parameter is impossible.
        DataError: the data cannot be used.
        TrainingError: the loss is not finite; the run is FAILED, nothing is registered.
        TrackingError: the store does not take what was written: it waits on this machine.
        CheckpointError: what a stopped training has left cannot be gone on from.
    """
    with init_process_group(options) as group:
        plan, earlier = None, None
        if group.is_main_process:
            connect(writes=not options["resume"])
            plan, earlier = _plan(options, given, group.key)
            if plan:
                for line in plan.lines:
                    _log.info(line)
                _require_shares(group.shard.size, Config.from_options(plan.settings))
        fields = group.broadcast(plan and dataclasses.asdict(plan), long_timeout=True)
        if fields is None:
            return None
        return _run(TrainingPlan(**fields), group, callbacks, progress, earlier)


def _plan(
    options: Mapping[str, Any], given: Mapping[str, Any], key: str
) -> tuple[TrainingPlan | None, LoggedTraining | None]:
    """Return what is to be trained, None where nothing is left to do, and what is repeated."""
    run_id = options["resume"] or (resume.of_group(key) if key else None)
    require_own_run(run_id)
    if run_id:
        return _plan_to_resume(run_id, given, key, asked=bool(options["resume"])), None
    own = {name: options[name] for name in ("model_name", "budget", "like")}
    if not options["like"]:
        return TrainingPlan(settings=Config.from_options(options).options() | own), None
    earlier = LoggedTraining(options["like"])
    settings, lines = earlier.settings(given)
    own["model_name"] = settings["model_name"]
    settings = Config.from_options(settings).options() | own
    return TrainingPlan(settings=settings, lines=lines), earlier


def _plan_to_resume(
    run_id: str, given: Mapping[str, Any], key: str, *, asked: bool
) -> TrainingPlan | None:
    """Return how a training goes on; None: it is finished.

    If it is not `asked` for, its own processes, of this key, have come back by themselves.
    """
    stopped = resume.ResumableRun(run_id, key)
    if stopped.finished:
        _log.info("Nothing is left to do: the training %s came to its end", stopped.name)
        return None
    if not asked and stopped.trouble:
        raise TrainingError(
            f"{stopped.trouble} - so ended {stopped.name}; choose another --rdzv-id to train anew"
        )
    # Of their own command only where the data is, and the like: it may say so for each machine.
    free = {name: value for name, value in given.items() if name in FREE}
    settings = stopped.settings(given if asked else free)
    line = f"Going on with {stopped.name}: {_progress(stopped)}"
    return TrainingPlan(settings=settings, resume=run_id, lines=[line])


def _progress(stopped: resume.ResumableRun) -> str:
    path = stopped.checkpoint()
    if path is None:
        return "it left no checkpoint, so from its beginning"
    return f"{checkpoint.load(path)['state']['epoch']} epochs of it are over"


def _run(
    plan: TrainingPlan,
    group: ProcessGroup,
    callbacks: Sequence[Callback],
    progress: Progress,
    earlier: LoggedTraining | None,
) -> tuple[str, str] | None:
    """Do this process's part of a planned training."""
    session = TrainingSession.load(
        Config.from_options(plan.settings),
        plan.settings["model_name"],
        progress if group.is_main_process else ignore_progress,
        group=group,
    )
    session.require_same_in_all_processes()
    if earlier:
        for line in earlier.differences(session.tags(), session.data["val"].digest[:36]):
            _log.info(line)
    _log.info(_summary(session))
    saved = session.load_checkpoint(plan.resume) if plan.resume else None
    if group.is_main_process:
        _require_same_images(plan, session)
    _set_budget(plan, session)
    if not group.is_main_process:
        session.fit(checkpoint=saved, resumable=True)
        group.barrier()
        return None
    registered, decision = _train_and_register(session, plan, callbacks, saved)
    with contextlib.suppress(PeerLostError):  # all is done
        group.barrier()  # for this the others wait: had this process died, they were needed
    _log.info("Score: %s", render("headline.md", evaluation=session.evaluation).strip())
    if session.threshold.value != THRESHOLD:
        _log.info("Threshold: %g, %s", *session.threshold)
    _log.info(decision)
    if earlier:
        _log.info(earlier.compare(session.evaluation.counts.mean().dice))
    for line in after_training(registered, session.run.id, session.source):
        _log.info(line)
    return session.run.id, registered.uri


def _require_same_images(plan: TrainingPlan, session: TrainingSession) -> None:
    """Refuse other images where no checkpoint has said so."""
    begun, here = plan.settings.get(_IMAGES, {}), session.digests
    if changed := [name for name, digest in begun.items() if here[name] != digest]:
        raise DataError(
            f"resume={plan.resume}: the {' and '.join(changed)} are not those with which it was "
            "begun; give its own `data`, or train anew without resume"
        )


def _summary(session: TrainingSession) -> str:
    compute, processes = session.compute, session.group.shard.size
    sizes = ", ".join(f"{len(part)} {name}" for name, part in reversed(list(session.data.items())))
    by = f" by {processes} processes" if processes > 1 else ""
    network = f"{session.config.model.encoder}, width {session.config.model.width}"
    where = f"{compute.device.type}, {compute.amp}"
    return f"Training {network}, on {where}: {sizes} images{by}"


def _set_budget(plan: TrainingPlan, session: TrainingSession) -> None:
    """Keep training to the time that was asked for, if any; all processes measure together."""
    state = plan.settings.get(_BUDGET_STATE, {})
    if "measuring" in state:  # measured anew, as where an older version began, epochs may differ
        session.budget = TimeBudget(**state)
    elif seconds := plan.settings["budget"]:
        budget = session.fit_to_budget(seconds)
        epochs = session.config.training.epochs
        seconds, more = budget.seconds(epochs), "s"[: epochs > 1]
        _log.info(f"Budget: {epochs} epoch{more} in {seconds:.0f} s of training")


def _train_and_register(
    session: TrainingSession,
    plan: TrainingPlan,
    callbacks: Sequence[Callback],
    saved: Checkpoint | None,
) -> tuple[VersionRef, str]:
    """Return the version in the registry and, in words, whether it became champion, and why."""
    settings = {**plan.settings, **session.config.options(), _IMAGES: session.digests}
    settings["data"] = absolute(settings["data"])
    if session.budget:
        settings[_BUDGET_STATE] = session.budget.state_dict()
    tags = {SETTINGS: json.dumps(settings)}
    if like := plan.settings["like"]:
        tags["like"] = like
    with session.open_run(tags=tags, resume=plan.resume or None, resumable=True) as run:
        export.rehearse()
        session.fit(callbacks, checkpoint=saved, resumable=True)
        session.evaluate()
        gate = GateEvaluator(session.source, session.config.data.border)
        _log.info("Judging the model on the gate images")
        results = gate.evaluate(Batched(session.segmenter, torch.device("cpu")))
        session.choose_threshold(Evaluation.of("gate", [*results.values()]) if results else None)
        # The model first: should a picture fail, what took minutes to train is safe.
        session.log_model(register=True)
        session.log_images()
        registered = session.register()
        decision = gate.decide_champion(registered, run, results)
        drop_checkpoints(run.id)
    return registered, decision
