"""Who is champion: both models scored anew on the gate split, the rule applied and recorded."""

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

import torch

from segmentation.config.training import OF_PROMOTE, Config
from segmentation.data.sources import Source, resolve_source
from segmentation.data.splits import gate_of
from segmentation.errors import ConfigError, ModelError
from segmentation.evaluation.promotion_rule import Contest, Decision, decide
from segmentation.evaluation.scoring import Evaluation, ImageResult, ScoredImage, score_images
from segmentation.models.predictor import Model
from segmentation.runtime.device import choose_compute
from segmentation.tracking.commands import mlflow_run, predict_with, view_run
from segmentation.tracking.project_run import open_store
from segmentation.tracking.registry.champion import champion_of, record_decision, recorded_decision
from segmentation.tracking.registry.loading import default_model, load
from segmentation.tracking.registry.versions import VersionRef
from segmentation.tracking.runs.inputs import seen_images
from segmentation.tracking.runs.run import Run, tracked_run
from segmentation.tracking.store import StoreError
from segmentation.tracking.templates import version_link
from segmentation.utils.concurrency import Progress, ignore_progress

_JUDGING = "Judging %s on the gate images"
_TRIES = 5  # while others become champion meanwhile
_log = logging.getLogger(__name__)


#: What is the same of an image for both models, unless a file was changed between their turns: its
#: id, its file's digest, and how many of its pixels are pet and background.
_Key = tuple[str, str, int, int]
#: What a model does on the gate images that can be used.
GateResults = dict[_Key, ImageResult]


class _Candidate(NamedTuple):
    """A version that is or may become champion, with the registry's tags."""

    version: str
    tags: dict[str, str]
    #: SHA-256 of the images that it was trained on, or that chose its epoch; None: not known.
    seen: frozenset[str] | None
    #: None if it cannot be scored, as `trouble` says.
    results: GateResults | None
    trouble: str


class GateEvaluator:
    """Scores models on the gate images of a data set; `problems` names those of no use.

    What is loaded for it computes on `device`, None: on the CPU.
    """

    def __init__(
        self,
        source: Source,
        border: str,
        progress: Progress = ignore_progress,
        device: torch.device | None = None,
    ) -> None:
        self._examples = gate_of(source.trainval())
        self._border, self._progress, self._device = border, progress, device
        self.problems: tuple[str, ...] = ()

    def evaluate(self, model: Model) -> GateResults:
        """Score a model on all images that can be used."""

        def measure(image: ScoredImage) -> tuple[_Key, ImageResult]:
            counts = image.counts
            pixels = int((counts.tp + counts.fn).sum()), int((counts.fp + counts.tn).sum())
            return (image.example.id, image.digest, *pixels), image.result

        results, self.problems = score_images(
            model, self._examples, self._border, measure, progress=self._progress
        )
        return dict(results)

    def promote(
        self,
        ref: VersionRef,
        results: GateResults | None = None,
        *,
        run: Run,
        force: bool = False,
    ) -> Decision:
        """Compare a version with the champion of its name, and record the decision.

        It is recorded on the version and on the run. If somebody else becomes champion in the
        meantime, the version is compared with that one. With `force` it takes over even if it is
        not shown to be better. A version without results is loaded and scored.
        """
        challenger = self._candidate(ref, results)
        if challenger.trouble:
            raise ModelError(challenger.trouble)
        for _ in range(_TRIES):
            version = champion_of(ref.name)
            if version == ref.version:
                return Decision(promoted=True, reason="Champion: it is so already.", metrics={})
            other = VersionRef(name=ref.name, version=version) if version else None
            champion = self._candidate(other) if other else None
            decision = decide(_contest(challenger, champion, self.problems), force=force)
            if record_decision(ref, version, decision, run):
                return decision
        raise ModelError(f"{ref.name}: its champion changes again and again; try later")

    def decide_champion(self, ref: VersionRef, run: Run, results: GateResults | None = None) -> str:
        """Compare a new version with the champion, see `promote`; return the decision in words.

        The version is registered by then: if the store cannot be reached, it can be promoted later.
        """
        if (decided := recorded_decision(ref)) is not None:  # by a process that was stopped since
            return decided
        try:
            return self.promote(ref, results, run=run).reason
        except StoreError as error:
            later = mlflow_run("promote", {"model": ref.uri})
            return (
                f"Champion: not decided, since the tracking store failed ({error}); later: {later}"
            )

    def _candidate(self, ref: VersionRef, results: GateResults | None = None) -> _Candidate:
        known, trouble = ref.look_up(), ""
        if results is None:
            _log.info(_JUDGING, f"{ref.name} version {ref.version}")
            try:
                results = self.evaluate(load(ref.uri, self._device).model)
            except ModelError as error:
                trouble = str(error)
        seen = seen_images(known.run_id)
        return _Candidate(ref.version, known.tags, seen, results, trouble)


def promote_model(
    uri: str, config: Config, *, force: bool = False, progress: Progress = ignore_progress
) -> None:
    """Compare a version with the champion of its name in a run; promote it if it is better.

    An empty address is the challenger of the data's usual model.
    """
    if uri and not re.fullmatch(r"models:/[^/@]+(/\d+|@[^/@]+)", uri):
        raise ConfigError(
            f"model={uri}: expected a registered version, such as models:/pet-unet/3 or "
            "models:/pet-unet@challenger"
        )
    compute = choose_compute(config.training)
    open_store()
    source = resolve_source(config.data)
    _log.info(source.summary)
    loaded = load(uri or default_model("challenger", source), compute.device)
    challenger = VersionRef(name=loaded.name, version=loaded.version)
    gate = GateEvaluator(source, config.data.border, progress, compute.device)
    tags = {"data.source": source.name, "model": loaded.label}
    with tracked_run(f"promote {loaded.label}", tags) as run:
        settings = config.used(OF_PROMOTE, data=source.name, device=compute.device.type)
        run.log_settings({"model": loaded.address, "force": force} | settings)
        _log.info(_JUDGING, loaded.label)
        results = gate.evaluate(loaded.model)
        decision = gate.promote(challenger, results, run=run, force=force)
        run.describe(_page(challenger, decision))
    for problem in gate.problems:
        _log.info("Left out: %s", problem)
    _log.info(decision.reason)
    _log.info("Look:  %s", view_run(run.id))
    _log.info("Next:  %s", predict_with(challenger.uri, source))


def _page(challenger: VersionRef, decision: Decision) -> str:
    name, champion = challenger.name, champion_of(challenger.name)
    who = version_link(name, champion) if champion else f"no version of {name}"
    judged = version_link(name, challenger.version)
    return f"**Champion is {who}.** Judged was {judged}:\n\n{decision.reason}\n"


def _contest(
    challenger: _Candidate, champion: _Candidate | None, problems: Sequence[str]
) -> Contest:
    """Find the images that count: those that neither was trained on, unchanged in between."""
    mine = challenger.results or {}
    theirs = champion.results if champion else None
    seen = (challenger.seen or frozenset()) | ((champion and champion.seen) or frozenset())
    keys = [key for key in mine if key[1] not in seen and (theirs is None or key in theirs)]
    notes = [f"{len(problems)} gate images cannot be used and are left out."] if problems else []
    notes += _notes(challenger, champion) if champion else []
    if left_out := sum(key[1] in seen for key in mine):
        notes.append(f"{left_out} gate images are left out: one of the two was trained on them.")
    return Contest(
        challenger=Evaluation.of("gate", [mine[key] for key in keys]) if keys else None,
        champion=Evaluation.of("gate", [theirs[key] for key in keys]) if theirs and keys else None,
        incumbent=f"version {champion.version}" if champion else None,
        trouble=f"{champion.trouble}; mend it, or promote another with force=true"
        if champion and champion.trouble
        else "",
        notes=tuple(notes),
        unknown=challenger.seen is None,
        num_candidates=int(challenger.tags.get("gate.looks", "1")),
    )


def _notes(challenger: _Candidate, champion: _Candidate) -> list[str]:
    """Say what a reader must know of the data of both, a sentence each."""
    notes = []
    digests = [one.tags.get("data.digest", "")[:12] for one in (champion, challenger)]
    if all(digests) and digests[0] != digests[1]:
        notes.append(f"Version {champion.version} was trained on other images.")
    if champion.seen is None:
        notes.append(
            f"It is not known which images version {champion.version} was trained on: if some of "
            "these, it looks better than it is."
        )
    return notes
