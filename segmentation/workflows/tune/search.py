"""A search from start to end: study, parent run, workers, comparison, winner, report."""

import dataclasses
import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any

from segmentation.config import file
from segmentation.config.search import SearchConfig
from segmentation.config.training import Config, defaults
from segmentation.data.augmentation.transforms import own_pipeline
from segmentation.errors import TrackingError, TrainingError
from segmentation.evaluation.pictures import try_draw
from segmentation.models.unet import build_unet
from segmentation.runtime.worker_pool import WorkerPool
from segmentation.tracking.artifacts import discard
from segmentation.tracking.commands import after_training, mlflow_run
from segmentation.tracking.project_run import open_store
from segmentation.tracking.registry import champion, versions
from segmentation.tracking.runs.inputs import log_datasets
from segmentation.tracking.runs.run import Run, ended, reason_of
from segmentation.tracking.store import studies_folder
from segmentation.tracking.summaries import studies
from segmentation.tuning import plots
from segmentation.tuning.report import DEFAULTS, StudyReport, best_trials, finalists
from segmentation.tuning.space import Space, notation, renamed
from segmentation.tuning.storage import study_location, verbosity_kept
from segmentation.tuning.study import COMMAND, Study, Trial
from segmentation.utils.concurrency import CORES, Progress, require_processors
from segmentation.workflows.promote import GateEvaluator
from segmentation.workflows.session import TrainingSession
from segmentation.workflows.tune.job import (
    CONFIRMATIONS,
    SearchJob,
    dropped,
    register,
    register_trial,
    requeue_lost_trials,
)
from segmentation.workflows.tune.worker import work

_log = logging.getLogger(__name__)


@verbosity_kept()
def search(
    config: SearchConfig,
    space: Space,
    options: Mapping[str, Any],
    model_name: str,
    typed: Mapping[str, Any],
    progress: Progress,
) -> tuple[str, str, str]:
    """Run what is missing of a study, confirm its finalists, register the winner.

    `options` has every setting that is not searched by its parameter's name, and train's defaults
    for what is; `typed` what the user gave. An empty model name is the usual one.

    Returns:
        The id of the study's run, the model's address, and the id of the winner's run.
    """
    require_processors("workers", config.workers)
    open_store()
    usual = Config.from_options(options)
    for encoder in getattr(space.get("encoder"), "choices", ()):
        build_unet(dataclasses.replace(usual.model, encoder=encoder), 0)
    choices = getattr(space.get("augment"), "choices", ())
    settled = {one: Config.from_options({**options, "augment": one}).training for one in choices}
    paths, size = {one: it.augment for one, it in settled.items()}, usual.data.image_size
    pipelines = {path: own for path in paths.values() if (own := own_pipeline(path, size))}
    if config.study != "auto":  # before images are read: is the run of one that goes on there?
        folder = studies_folder()
        known = Study.find(study_location(config.study, config.storage, folder, config.heartbeat))
        if known and (parent := known.user_attrs.get("parent")):
            studies.require_parent(parent, config.study)
    session = TrainingSession.load(usual, model_name, progress, with_gate=config.confirm > 0)
    job = SearchJob.plan(config, renamed(space, paths), options, session, pipelines)
    command = mlflow_run("tune", {**typed, "study": job.location.name})
    try:
        return _search(job, session, command)
    except KeyboardInterrupt:
        _log.info("Go on: %s", command)
        raise


def _search(job: SearchJob, session: TrainingSession, command: str) -> tuple[str, str, str]:
    study = job.open_study()
    study.optuna.set_user_attr(COMMAND, command)
    with ExitStack() as opened:
        with study.lock():  # of several commands at once only one makes the parent run
            known, name = study.user_attrs.get("parent"), job.location.name
            tags = {"study": name, **session.tags()}
            run = studies.parent_run(name, tags, study.id, known)
            parent = opened.enter_context(run)
            study.optuna.set_user_attr("parent", parent.id)
            own = dataclasses.asdict(job.search) | notation(job.space) | {"study": name}
            parent.log_params(session.settings() | own)  # a study that goes on keeps what it has
            asked = {**job.options, "data": session.source.name, "model_name": job.model_name}
            parent.log_text(file.dump(asked | own), file.CONFIG)
            log_datasets(parent, session.data, session.source)
        running = _Search(job, session, study, parent)
        running.run()
        return parent.id, *running.finish()


class _Search:
    """One command's part in a search."""

    def __init__(self, job: SearchJob, session: TrainingSession, study: Study, parent: Run) -> None:
        self._job, self._session, self._study, self._parent = job, session, study, parent
        device = session.compute.device.type
        workers = job.search.workers or (2 if device == "cpu" and CORES > 1 else 1)
        self._pool = WorkerPool(workers, max(1, CORES // workers), work, job, parent)
        sizes = ", ".join(f"{len(part)} {name}" for name, part in session.data.items())
        space = ", ".join(f"{name} {text}" for name, text in notation(job.shown_space()).items())
        _log.info(
            f"Study {job.location.name} in {job.location.address}: {space}; {job.search.trials} "
            f"trials of {job.search.trial_epochs} epochs, {workers} at once on {device}, "
            f"{session.compute.amp}; images: {sizes}"
        )

    def run(self) -> None:
        """Run trials and confirmations until none is left."""
        self._repair()
        if done := sum(trial.finished for trial in self._study.trials()):
            _log.info("Going on with study %s: %d trials are done", self._job.location.name, done)
        try:
            self._pool.run(self._on_message)
        except BaseException as error:
            with suppress(Exception):  # what ended the search matters more
                self._repair()
                command = str(self._study.user_attrs[COMMAND])
                self._log_progress("\n" + ended(reason_of(error), command))
            raise
        self._repair()
        self._log_progress()

    def report(self) -> StudyReport:
        """Gather what is known now."""
        trials, confirmed = self._study.trials(), self._study.confirmations.trials()
        numbers = [trial.number for trial in best_trials(trials, self._job.search.confirm)]
        found = finalists(confirmed, [*numbers, DEFAULTS])
        return StudyReport(
            name=self._job.location.name,
            space=self._job.space,
            files=self._job.files,
            search=self._job.search,
            trials=trials,
            confirmed=confirmed,
            # With fewer seeds than the others one would be compared by another measure.
            finalists=[one for one in found if len(one.gate) == CONFIRMATIONS],
        )

    def _on_message(self, line: str) -> None:
        """Tell of a trial that has ended."""
        _log.info(line)
        with suppress(Exception):  # it is logged again; no trial is to end for its sake
            self._log_progress()

    def _repair(self) -> None:
        """End in both stores what a killed process has left, and register what it had not."""
        requeue_lost_trials(self._study)
        name = self._job.model_name
        registered = versions.registered_runs(name, self._study.id)  # asked once, not for each
        for trial in self._study.trials():
            if trial.state == "complete" and trial.user_attrs["run"] not in registered:
                register_trial(self._study, trial, name)

    def _log_progress(self, end: str = "") -> None:
        """Bring the parent run's curves and description up to date, with what is to follow that."""
        with self._study.lock():
            trials, report = self._study.trials(), self.report()
            studies.log_progress(self._parent, report.name, trials, report.markdown() + end)

    def finish(self) -> tuple[str, str]:
        """Register the winner, let it contend, delete what `keep` says, log and say what was found.

        All trials and confirmations have ended. Done again, it changes nothing that is done.

        Returns:
            The winner's address, and the id of its run.
        """
        report, job, study = self.report(), self._job, self._study
        winner = _winner(report)
        if report.finalists:
            config = job.full_config(report.finalists[0].params, int(winner.params["seed"]))
        else:
            config = job.trial_config(winner.params)
        registered = self._register(report, winner)
        champion.challenge_if_newest(registered)
        gate = GateEvaluator(self._session.source, config.data.border)
        decision = gate.decide_champion(registered, self._parent)
        self._drop_losers(report)
        usual = defaults(config.model.encoder)
        given = {name: value for name, value in config.options().items() if value != usual[name]}
        report = dataclasses.replace(
            report,
            command=mlflow_run("train", given),
            winner=registered.uri,
            importances=plots.importances(study.optuna),
            dropped=len(dropped(study)),
        )
        self._log_report(report, winner)
        if report.dropped:
            _log.info("Deleted: the models of %d losing trial(s), as `keep` says", report.dropped)
        _log.info(report.verdict())
        _log.info(decision)
        _log.info("Again: %s", report.command)
        for line in after_training(registered, self._parent.id, self._session.source):
            _log.info(line)
        return registered.uri, str(winner.user_attrs["run"])

    def _register(self, report: StudyReport, winner: Trial) -> versions.VersionRef:
        """Register the winner's weights, if nobody has."""
        name = self._job.model_name
        if not report.finalists:
            registered = register_trial(self._study, winner, name)
            if registered is None:
                raise TrackingError(
                    f"study={report.name}: the model of its best trial, {winner.number}, was "
                    "deleted by an earlier `keep`; say confirm=3, or give more `trials`"
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
        with self._study.lock():
            return register(self._study, winner, name, tags, verdict)

    def _drop_losers(self, report: StudyReport) -> None:
        """Delete the models of losing trials, and of confirmations that are not their best."""
        job, study = self._job, self._study
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

    def _log_report(self, report: StudyReport, winner: Trial) -> None:
        parent, study, markdown = self._parent, self._study.optuna, report.markdown()
        metrics: dict[str, float] = {}
        for one in report.finalists:
            key = "defaults" if one.number == DEFAULTS else "finalist"
            metrics.setdefault(f"confirmed/{key}_gate_dice", one.mean)  # the best comes first
        parent.log_metrics(metrics)
        parent.log_text(markdown, "report.md")
        with self._study.lock():  # another command may end at the same time
            parent.describe(markdown)
            studies.show_model(parent, str(winner.user_attrs["model"]["id"]))
        if page := try_draw("plots.html", lambda: plots.html_page(study, f"Study {report.name}")):
            parent.log_text(page, "plots.html")
        for name, content in (try_draw("plots", lambda: plots.pictures(study)) or {}).items():
            parent.log_artifact(content, f"plots/{name}.png")


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
