"""The end of a search: the winner registered, losers dropped, the report and the plots written.

Done again, it changes nothing that is done.
"""

import dataclasses
from typing import Any

from segmentation.config.training import Config
from segmentation.errors import TrackingError, TrainingError
from segmentation.tracking.commands import mlflow_run, view_run
from segmentation.tracking.registry import champion, versions
from segmentation.tracking.runs.run import Run
from segmentation.tracking.summaries import studies
from segmentation.tuning import plots
from segmentation.tuning.report import DEFAULTS, StudyReport, best_of, trial_json
from segmentation.tuning.study import Study, Trial
from segmentation.workflows.promote import GateEvaluator, promote
from segmentation.workflows.tune.job import (
    SearchJob,
    best_trials,
    dropped,
    register,
    register_trial,
)
from segmentation.workflows.tune.plan import SearchPlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A finished search.

    Attributes:
        run_id: of the parent.
        report: what was found.
        registered: the winner.
        aliases: those that it was given.
        decision: whether it became champion, and why, in words.
    """

    run_id: str
    report: StudyReport
    registered: versions.VersionRef
    aliases: tuple[str, ...]
    decision: str

    def lines(self, store: str) -> list[str]:
        """Return what the console says of it, given the address of the tracking store."""
        deleted = f"Deleted: the models of {self.report.dropped} losing trial(s), as `keep` says"
        aliases = " and ".join(f"@{alias}" for alias in self.aliases) or "a version"
        return [
            *([deleted] if self.report.dropped else []),
            self.report.verdict(),
            self.decision,
            f"Again: {self.report.command}",
            f"Look:  {view_run(store, self.run_id)}",
            f'Load:  mlflow.pytorch.load_model("{self.registered.uri}")  ({aliases} of '
            f"{self.registered.name})",
        ]


def finish_search(plan: SearchPlan, study: Study, report: StudyReport, parent: Run) -> SearchResult:
    """Register the winner, let it contend, delete what `keep` says, log the whole report.

    All trials and confirmations have ended, and are in the report.

    Raises:
        TrackingError: the best model was deleted on purpose.
        TrainingError: no trial came to its end.
    """
    job, winner = plan.job, _winner(report)
    if report.finalists:
        seed = int(winner.params["seed"])
        config = job.full_config(report.finalists[0].params, seed)
    else:
        config = job.trial_config(winner.params)
    registered = _register(job, study, report, winner)
    decision = champion.recorded_decision(registered)  # by a command that was stopped since
    if decision is None:
        champion.challenge(registered)
        gate = GateEvaluator(plan.session.source, config.data.border)
        decision = promote(registered, gate, run=parent).reason
    _drop_losers(job, study, report)
    report = dataclasses.replace(
        report,
        command=mlflow_run("train", _typed(config)),
        winner=registered.uri,
        importances=plots.importances(study.optuna),
        disk=studies.disk_use(study.id),
        dropped=len(dropped(study)),
    )
    _log(parent, study, report, winner)
    return SearchResult(
        run_id=parent.id,
        report=report,
        registered=registered,
        aliases=tuple(sorted(versions.version_info(registered.name, registered.version).aliases)),
        decision=decision,
    )


def _typed(config: Config) -> dict[str, Any]:
    """Return the parameters of these settings that differ from their defaults."""
    return {one.option: value for _, one, value in config.items() if value != one.default}


def _winner(report: StudyReport) -> Trial:
    """Return the best training of the best finalist; where none was confirmed, the best trial."""
    if report.finalists:
        return report.finalists[0].best
    if (best := best_of(report.trials)) is not None:
        return best
    failed = [trial for trial in report.trials if trial.state == "failed"]
    reasons = "; ".join(sorted({str(trial.user_attrs["failure"]) for trial in failed}))
    raise TrainingError(
        f"study={report.name}: no trial came to its end"
        + (f" ({reasons})" if reasons else "")
        + "; give more `trials`, more time or another space"
    )


def _register(
    job: SearchJob, study: Study, report: StudyReport, winner: Trial
) -> versions.VersionRef:
    """Register the winner's weights, if nobody has."""
    if not report.finalists:
        registered = register_trial(study, winner, job.model_name)
        if registered is None:
            raise TrackingError(
                f"study={report.name}: the model of its best trial, {winner.number}, was deleted "
                "by an earlier `keep`; say confirm=3, or give more `trials`"
            )
        return registered
    first = report.finalists[0]
    tags = {
        "purpose": "winner",
        "candidate": first.label,
        "gate.dice": f"{first.mean:.4f}",
        # Among so many trainings it was chosen by the gate split.
        "gate.looks": str(sum(len(one.trainings) for one in report.finalists)),
    }
    verdict = f"Winner of the study `{report.name}`. {report.verdict()}\n\n"
    with study.lock():
        return register(study, winner, job.model_name, tags, verdict)


def _drop_losers(job: SearchJob, study: Study, report: StudyReport) -> None:
    """Delete the models of losing trials, and of confirmations that are not their best."""
    if job.search.keep == "all":
        return
    complete = [trial for trial in report.trials if trial.state == "complete"]
    kept = best_trials(complete, job.search.keep)
    losers = [trial for trial in complete if trial not in kept]
    unused = [t for one in report.finalists for t in one.trainings if t is not one.best]
    with study.lock():
        # Noted first: what is deleted is not to be registered again.
        numbers = {*dropped(study), *(trial.number for trial in losers)}
        study.optuna.set_user_attr("dropped", sorted(numbers))
        runs = {trial.user_attrs["run"] for trial in [*losers, *unused]}
        studies.drop_models(study.id, job.model_name, runs)


def _log(parent: Run, study: Study, report: StudyReport, winner: Trial) -> None:
    metrics: dict[str, float] = {}
    for one in report.finalists:
        key = "defaults" if one.number == DEFAULTS else "finalist"
        metrics.setdefault(f"confirmed/{key}_gate_dice", one.mean)  # the best comes first
    pictures = plots.pictures(study.optuna)
    page = plots.html_page(study.optuna, f"Study {report.name}")
    trials = [trial_json(trial) for trial in report.trials]
    winner_id = str(winner.user_attrs["model"]["id"])
    with study.lock():  # another command may end at the same time
        studies.log_study(parent, report.markdown(), pictures, page, metrics, trials, winner_id)
