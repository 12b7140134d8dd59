"""The end of a search: the winner registered, losers dropped, the report and the plots written."""

import dataclasses

from segmentation.errors import TrackingError, TrainingError
from segmentation.tracking.registry import champion, model_card, versions
from segmentation.tracking.summaries import studies
from segmentation.tuning import plots
from segmentation.tuning import report as study_report
from segmentation.tuning.lines import plain
from segmentation.tuning.study import Study, Trial
from segmentation.workflows.promote import GateEvaluator, promote
from segmentation.workflows.tune.job import DEFAULTS, SearchJob, dropped, finalists, register
from segmentation.workflows.tune.plan import SearchPlan


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchResult:
    """A finished search.

    Attributes:
        run_id: of the parent.
        story: what was found.
        registered: the winner.
        aliases: those that it was given.
        decision: whether it became champion, and why, in words.
    """

    run_id: str
    story: study_report.StudyReport
    registered: versions.VersionRef
    aliases: tuple[str, ...]
    decision: str


class SearchFinish:
    """Ends one search; done again, it changes nothing that is done."""

    def __init__(
        self, searching: SearchPlan, job: SearchJob, study: Study, story: study_report.StudyReport
    ) -> None:
        """Take over from the search, all of whose trials and confirmations have ended."""
        self._searching, self._job, self._study, self._story = searching, job, study, story
        self._setup = searching.setup

    def finish(self) -> SearchResult:
        """Do all of it.

        Raises:
            TrackingError: the best model was deleted on purpose.
            TrainingError: no trial came to its end.
        """
        job, story = self._job, self._story
        best = study_report.best_of(story.trials)
        if best is None:
            reasons = {
                str(trial.user_attrs["failure"])
                for trial in story.trials
                if trial.state == "failed"
            }
            raise TrainingError(
                f"study={job.place.name}: no trial came to its end"
                + (f" ({'; '.join(sorted(reasons))})" if reasons else "")
                + "; give more `trials`, more time or another space"
            )
        if story.candidates:
            first = story.candidates[0]
            trial, params = first.best, first.params
            config = job.whole_config(params, int(trial.params["seed"]))
        else:
            trial, config = best, job.trial_config(best.params)
        story = dataclasses.replace(story, config=config)
        registered = self._register(story, trial)
        decision = self._promote(registered)
        self._drop(story)
        story = dataclasses.replace(
            story,
            winner=registered.uri,
            importances=plots.importances(self._study.optuna),
            disk=studies.disk_use(self._study.id),
            dropped=len(dropped(self._study)),
        )
        self._log(story, trial)
        return SearchResult(
            run_id=job.parent.id,
            story=story,
            registered=registered,
            aliases=versions.version_info(registered.name, registered.version).aliases,
            decision=decision,
        )

    def _promote(self, registered: versions.VersionRef) -> str:
        """Let the winner contend, once; return how it went, in words."""
        if (decision := champion.recorded_decision(registered)) is not None:
            return decision
        champion.challenge(registered)
        config = self._job.trial_config({})
        arena = GateEvaluator(self._setup.source, config.data.border)
        return promote(registered, arena, run=self._job.parent).reason

    def _register(self, story: study_report.StudyReport, trial: Trial) -> versions.VersionRef:
        """Register the winner's weights, if nobody has."""
        name, study = self._setup.model_name, self._study
        if not story.candidates:
            found = register(study, trial, name)
            if found is None:
                raise TrackingError(
                    f"study={study.place.name}: the model of its best trial, {trial.number}, was "
                    "deleted by an earlier `keep`; say confirm=3, or give more `trials`"
                )
            return found
        first = story.candidates[0]
        tags = {
            **trial.user_attrs["tags"],
            "study": study.place.name,
            "study.id": study.id,
            "purpose": "winner",
            "candidate": first.label,
            "gate.dice": f"{first.mean:.4f}",
            # Among so many trainings it was chosen by the gate split.
            "gate.looks": str(sum(len(one.trainings) for one in story.candidates)),
        }
        text = (
            f"Winner of the study `{study.place.name}`. {story.verdict()}\n\n"
            f"{trial.user_attrs['described']}"
        )
        with study.locked():
            registered = versions.register(trial.user_attrs["model"], name, text, tags)
            versions.describe_model(name, model_card.model(name, trial.user_attrs["data"]))
        return registered

    def _drop(self, story: study_report.StudyReport) -> None:
        """Delete the models of losing trials, and of confirmations that are not their best."""
        keep, study = self._searching.asked.keep, self._study
        if keep == "all":
            return
        complete = [trial for trial in story.trials if trial.state == "complete"]
        kept = finalists(complete, keep)
        losers = [trial for trial in complete if trial not in kept]
        best = [candidate.best for candidate in story.candidates]
        unused = [t for c in story.candidates for t in c.trainings if t not in best]
        runs_of_losers = {trial.user_attrs["run"] for trial in [*losers, *unused]}
        with study.locked():
            # Noted first: what is deleted is not to be registered again.
            gone = {*dropped(study), *(trial.number for trial in losers)}
            study.set_attr("dropped", sorted(gone))
            studies.drop_models(study.id, self._setup.model_name, runs_of_losers)

    def _log(self, story: study_report.StudyReport, winner: Trial) -> None:
        pictures = plots.pictures(self._study.optuna)
        page = plots.page(self._study.optuna, f"Study {story.name}")
        figures: dict[str, float] = {}
        for candidate in story.candidates:
            key = "defaults" if candidate.number == DEFAULTS else "finalist"
            figures.setdefault(f"confirmed/{key}_gate_dice", candidate.mean)  # the best comes first
        with self._study.locked():  # another command may end at the same time
            studies.log_study(
                self._job.parent,
                story.markdown(),
                pictures,
                page,
                figures,
                {"trials.json": [plain(trial) for trial in story.trials]},
            )
            studies.link_model(self._job.parent, str(winner.user_attrs["model"]))
