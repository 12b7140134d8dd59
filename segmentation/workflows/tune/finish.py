"""The end of a search: the winner registered, losers dropped, the report and the plots written.

Done again, it changes nothing that is done.
"""

import dataclasses
import logging

from segmentation.config.training import defaults
from segmentation.data.sources import Source
from segmentation.errors import TrackingError, TrainingError
from segmentation.evaluation.pictures import try_draw
from segmentation.tracking.artifacts import discard
from segmentation.tracking.commands import after_training, mlflow_run
from segmentation.tracking.registry import champion, versions
from segmentation.tracking.runs.run import Run
from segmentation.tracking.summaries import studies
from segmentation.tuning import plots
from segmentation.tuning.report import DEFAULTS, StudyReport, best_trials
from segmentation.tuning.study import Study, Trial
from segmentation.workflows.promote import GateEvaluator, decide_champion
from segmentation.workflows.tune.job import SearchJob, dropped, register, register_trial

_log = logging.getLogger(__name__)


def finish_search(
    job: SearchJob, source: Source, study: Study, report: StudyReport, parent: Run
) -> tuple[str, str]:
    """Register the winner, let it contend, delete what `keep` says, log and say what was found.

    All trials and confirmations have ended, and are in the report.

    Returns:
        The winner's address, and the id of its run.
    """
    winner = _winner(report)
    if report.finalists:
        seed = int(winner.params["seed"])
        config = job.full_config(report.finalists[0].params, seed)
    else:
        config = job.trial_config(winner.params)
    registered = _register(job, study, report, winner)
    champion.challenge_if_newest(registered)
    decision = decide_champion(registered, GateEvaluator(source, config.data.border), parent)
    _drop_losers(job, study, report)
    usual = defaults(config.model.encoder)
    given = {name: value for name, value in config.options().items() if value != usual[name]}
    report = dataclasses.replace(
        report,
        command=mlflow_run("train", given),
        winner=registered.uri,
        importances=plots.importances(study.optuna),
        dropped=len(dropped(study)),
    )
    _log_report(parent, study, report, winner)
    if report.dropped:
        _log.info("Deleted: the models of %d losing trial(s), as `keep` says", report.dropped)
    _log.info(report.verdict())
    _log.info(decision)
    _log.info("Again: %s", report.command)
    for line in after_training(registered, parent.id, source):
        _log.info(line)
    return registered.uri, str(winner.user_attrs["run"])


def _winner(report: StudyReport) -> Trial:
    """Return the best training of the best finalist; where none was confirmed, the best trial."""
    if report.finalists:
        return report.finalists[0].best
    if report.best:
        return report.best
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
        runs = {trial.user_attrs["run"] for trial in [*losers, *unused]}
        found = studies.droppable(study.id, job.model_name, runs, job.started)
        # Noted first: what is deleted is not to be registered again.
        numbers = {trial.number for trial in losers if trial.user_attrs["run"] in found}
        study.optuna.set_user_attr("dropped", sorted(numbers.union(dropped(study))))
        for model, models_versions in found.values():
            discard(model, models_versions)


def _log_report(parent: Run, study: Study, report: StudyReport, winner: Trial) -> None:
    metrics: dict[str, float] = {}
    for one in report.finalists:
        key = "defaults" if one.number == DEFAULTS else "finalist"
        metrics.setdefault(f"confirmed/{key}_gate_dice", one.mean)  # the best comes first
    parent.log_metrics(metrics)
    parent.log_text(report.markdown(), "report.md")
    with study.lock():  # another command may end at the same time
        parent.describe(report.markdown())
        studies.show_model(parent, str(winner.user_attrs["model"]["id"]))
    title = f"Study {report.name}"
    if page := try_draw("plots.html", lambda: plots.html_page(study.optuna, title)):
        parent.log_text(page, "plots.html")
    for name, content in (try_draw("plots", lambda: plots.pictures(study.optuna)) or {}).items():
        parent.log_artifact(content, f"plots/{name}.png")
