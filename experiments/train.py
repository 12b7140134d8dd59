"""Train a U-Net, track the run in MLflow, register the model."""

import dataclasses
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from experiments.console import ConsoleCallback, ProgressBar, one_line_errors
from experiments.options import Duration, config_options, given
from segmentation.config.training import Config, require_model_name
from segmentation.errors import TrainingError
from segmentation.runtime.sharding import FULL, shard_from_env

if TYPE_CHECKING:
    from segmentation.runtime.process_group import ProcessGroup
    from segmentation.tracking.runs.rerun import LoggedTraining
    from segmentation.tracking.runs.resume import ResumableRun
    from segmentation.training.time_budget import Budget
    from segmentation.workflows.session import TrainingSession

_PACE = "pace"  # among the settings of a run: the state of its budget at the beginning
_KEPT = 0.1  # a budget's time is kept within this share of it, or it is said beforehand


@click.command(context_settings={"show_default": True})
@config_options()
@click.option(
    "--model-name",
    default="",
    help="Registered model to add a version to; empty: pet-unet, or pet-unet-synthetic on drawn "
    "data.",
)
@click.option(
    "--budget",
    type=Duration(),
    default="",
    help="Time for training, such as 90s, 5m or 1.5h: as many epochs as fit into it, whatever "
    "'epochs' says; 0: as many as 'epochs' says.",
)
@click.option(
    "--like",
    default="",
    help="Id of the run of an earlier training to repeat: parameters that you do not give are "
    "its; empty: none.",
)
@click.option(
    "--resume",
    default="",
    help="Id of the run of a training that was stopped or killed, to go on with it in that run: "
    "all parameters are its own; empty: none.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    help="Processes of this machine that train together, each with its share of every batch and, "
    "where there are GPUs, one of its own.",
)
@click.pass_context
@one_line_errors
def main(context: click.Context, processes: int, **options: Any) -> None:
    """Train a U-Net that tells pet from background."""
    named = options["like"] or options["resume"]
    config = None if named else Config.from_options(options)
    require_model_name(options["model_name"])
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.runtime.process_group import init_process_group

    if processes > 1 and shard_from_env() == FULL:
        from segmentation.runtime.device import choose_compute
        from segmentation.runtime.launcher import launch

        if config and choose_compute(config.training, processes - 1).device.type == "cpu":
            click.echo(
                "Note: on the processors of one machine, one process with all threads is often "
                "faster: several wait for each other in every layer"
            )
        context.exit(launch("experiments.train", sys.argv[1:], processes))
    options["budget"] = options["budget"] or 0.0
    with init_process_group(options) as group:
        if not group.is_main_process:
            _beside(group)
        elif asked := _asked(context, options, group.key):
            _train(asked, group)
        else:
            group.broadcast(None, long_timeout=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """What is to be trained.

    Attributes:
        options: the settings, by the parameters' names.
        model_name, budget, like: as they were given.
        earlier: the training that is repeated, if any.
        stopped: the training that goes on, if any.
    """

    options: dict[str, Any]
    model_name: str
    budget: float
    like: str
    earlier: "LoggedTraining | None" = None
    stopped: "ResumableRun | None" = None


def _asked(context: click.Context, options: dict[str, Any], key: str) -> TrainRequest | None:
    """Find out what is to be trained, and say so; None: nothing is left to do."""
    own = {name: options[name] for name in ("model_name", "budget", "like")}
    resume = options["resume"] or _begun(key)
    if resume:
        stopped = _stopped(resume, context, key)
        if stopped.finished:
            click.echo(f"Nothing is left to do: the training {stopped.name} came to its end")
            return None
        own = {name: stopped.options[name] for name in own}
        return TrainRequest(options=dict(stopped.options), stopped=stopped, **own)
    if own["like"]:
        earlier, settings = _look_up(own["like"], context)
        own["model_name"] = settings["model_name"]
        return TrainRequest(options=settings, earlier=earlier, **own)
    return TrainRequest(options=options, **own)


def _begun(key: str) -> str:
    """Return the run that these processes had begun before one of them died; empty: none."""
    if not key:
        return ""
    from segmentation.tracking.runs.resume import of_group
    from segmentation.tracking.store import connect

    connect()
    return of_group(key) or ""


def _train(asked: TrainRequest, group: "ProcessGroup") -> None:
    """Train in this process, or as the main one of several."""
    config, setup, store = _prepared(asked.options, asked.model_name, asked.like, group, click.echo)
    from segmentation.tracking.commands import view_run
    from segmentation.workflows.session import train_and_register

    earlier, stopped = asked.earlier, asked.stopped
    for line in _differences(earlier, setup) if earlier else ():
        click.echo(line)
    sizes = ", ".join(f"{len(part)} {name}" for name, part in reversed(list(setup.data.items())))
    by = f" by {group.shard.size} processes" if group.shard.size > 1 else ""
    click.echo(f"Training on {setup.compute.device.type}, {setup.compute.amp}: {sizes} images{by}")
    config, pace = _paced(asked.budget, config, setup, stopped)
    settings = {**config.options(), "model_name": asked.model_name, "budget": asked.budget}
    settings["like"] = asked.like
    if pace:
        settings[_PACE] = pace.state()
    outcome = train_and_register(
        config,
        setup,
        [ConsoleCallback()],
        pace,
        resume=stopped.id if stopped else None,
        asked=settings,
        say=click.echo,
    )
    warning = "" if outcome.evaluation.above_baselines() else " - NOT above that"
    click.echo(f"Score: {outcome.story.score()}; {outcome.story.floor()}{warning}")
    click.echo(outcome.decision)
    if earlier:
        click.echo(earlier.compare(outcome.evaluation.counts.mean().dice))
    aliases = " and ".join(f"@{alias}" for alias in outcome.aliases) or "a version"
    click.echo(f"Look:  {view_run(store, outcome.run_id)}")
    click.echo(
        f'Load:  mlflow.pytorch.load_model("{outcome.registered.uri}")  ({aliases} of '
        f"{outcome.registered.name})"
    )


def _beside(group: "ProcessGroup") -> None:
    """Train as one of several processes, of which the main one says what and how."""
    asked = group.broadcast(None, long_timeout=True)
    if asked is None:
        return
    options, model_name, like = asked
    config, setup, _ = _prepared(options, model_name, like, group, lambda line: None)
    from segmentation.workflows.session import fit_within_budget, run_worker

    budget = group.broadcast(None, long_timeout=True)
    if budget:
        config, _ = fit_within_budget(budget, config, setup)
    run_worker(config, setup)


def _prepared(
    options: dict[str, Any],
    model_name: str,
    like: str,
    group: "ProcessGroup",
    say: Callable[[str], None],
) -> tuple[Config, "TrainingSession", str]:
    """Return settings and data, the same in all processes, and the main one's tracking store."""
    if group.is_main_process:
        group.broadcast([options, model_name, like], long_timeout=True)
    config = Config.from_options(options)
    require_model_name(model_name)
    from segmentation.data.sources import resolve_source
    from segmentation.runtime.device import choose_compute

    compute = choose_compute(config.training, group.local_rank)
    with group.local_main_process_first():
        source = resolve_source(config.data.source)
        say(source.summary)
        from segmentation.tracking.store import connect
        from segmentation.workflows.session import TrainingSession, load_data

        store = connect() if group.is_main_process else ""
        progress = ProgressBar("Reading images") if group.is_main_process else _unseen
        data = load_data(config.data, source, progress)
    for name, part in data.items():
        for problem in part.problems:
            say(f"Left out of {name}: {problem}")
    setup = TrainingSession.of(compute, source, data, model_name, like, group)
    setup.require_alike()
    return config, setup, store


def _unseen(done: int, total: int) -> None:
    """Show no progress."""


def _stopped(resume: str, context: click.Context, key: str) -> "ResumableRun":
    """Find the training that is to go on; say where it stands."""
    from segmentation.tracking.runs.resume import find
    from segmentation.tracking.store import connect
    from segmentation.training.checkpoint import read

    connect()
    stopped = find(resume, key)
    if stopped.finished:
        return stopped
    if context.params["resume"]:
        stopped.require_same(given(context))
    elif stopped.trouble:
        raise TrainingError(
            f"{stopped.trouble} - so ended {stopped.name}; choose another --rdzv-id to train anew"
        )
    kept = stopped.checkpoint()
    course = read(kept).metadata["course"] if kept else None
    where = (
        f"epoch {course['epoch']} of it is {'over' if course['over'] else 'under way'}"
        if course
        else "it left no checkpoint, so from its beginning"
    )
    click.echo(f"Going on with {stopped.name}: {where}")
    return stopped


def _paced(
    budget: float, config: Config, setup: "TrainingSession", stopped: "ResumableRun | None"
) -> tuple[Config, "Budget | None"]:
    """Return the settings with as many epochs as fit into a budget, and what keeps to it."""
    setup.group.broadcast(budget if budget and not stopped else 0, long_timeout=True)
    if not budget:
        return config, None
    from segmentation.training.checkpoint import read
    from segmentation.training.time_budget import Budget
    from segmentation.workflows.session import fit_within_budget

    if stopped:  # measured anew, the number of epochs would be another
        kept = stopped.checkpoint()
        # A process that only took part knows nothing of it.
        state = (read(kept).metadata["budget"] if kept else None) or stopped.options[_PACE]
        return config, Budget.restored(state)
    config, pace = fit_within_budget(budget, config, setup)
    click.echo(_plan_of(pace, config.training.epochs))
    return config, pace


def _plan_of(budget: "Budget", epochs: int) -> str:
    """Say how many epochs are planned, and how long they take where that is not what was asked."""
    planned = f"Budget: {epochs} epoch{'s' if epochs > 1 else ''} in {budget.asked:g} s of training"
    expected = budget.expected(epochs)
    if abs(expected - budget.asked) <= _KEPT * budget.asked:
        return planned
    return f"{planned}, as near as whole epochs come to it: about {expected:.0f} s"


def _look_up(like: str, context: click.Context) -> tuple["LoggedTraining", dict[str, Any]]:
    """Find the run that is to be repeated; return it and the settings, and say what they are."""
    from segmentation.tracking.runs.rerun import find
    from segmentation.tracking.store import connect

    connect()
    earlier = find(like)
    settings, lines = earlier.settings(given(context))
    for line in lines:
        click.echo(line)
    return earlier, settings


def _differences(earlier: "LoggedTraining", setup: "TrainingSession") -> list[str]:
    """Say what besides the settings is not as it was."""
    from segmentation.tracking.runs.differences import differences

    return differences(earlier, setup.tags(), setup.data["val"].digest[:36])


if __name__ == "__main__":
    main()
