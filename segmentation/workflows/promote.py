"""Who is champion: both models judged anew on the gate split, the rule applied, its word kept."""

import dataclasses
import functools
from collections.abc import Sequence

import torch

from segmentation.data.oxford_pets import Example, read_trainval
from segmentation.data.sources import Source
from segmentation.data.splits import gate_of
from segmentation.errors import DataError, ModelError
from segmentation.evaluation.promotion_rule import Contest, Decision, decide
from segmentation.evaluation.scoring import Evaluation, ScoredImage, score_images
from segmentation.metrics.segmentation import Counts
from segmentation.models.predictor import Model
from segmentation.tracking.commands import mlflow_run
from segmentation.tracking.registry.champion import champion_of, record_decision
from segmentation.tracking.registry.loading import load, seen_images
from segmentation.tracking.registry.versions import VersionInfo, VersionRef, version_info
from segmentation.tracking.runs.run import Run
from segmentation.tracking.store import StoreError
from segmentation.utils.concurrency import Progress

_TRIES = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rival:
    """A model in the contest: what answers, and the SHA-256 of the images that it has seen."""

    model: Model
    seen: frozenset[str] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Mark:
    """How a model did on one image.

    Attributes:
        example: which one.
        digest: SHA-256 of its file, by which it is known under other names.
        counts: the model's.
    """

    example: Example
    digest: str
    counts: Counts

    def of(self) -> tuple[str, str, int, int]:
        """Return what is the same for both models if nothing has changed in between."""
        pet = int((self.counts.tp + self.counts.fn).sum())
        rest = int((self.counts.fp + self.counts.tn).sum())
        return self.example.id, self.digest, pet, rest


class GateEvaluator:
    """The gate images of a data set."""

    def __init__(
        self,
        source: Source,
        border: str,
        progress: Progress = lambda done, total: None,
        device: torch.device | None = None,
    ) -> None:
        """Find them.

        Args:
            source: the data set.
            border: what the trimap's border counts as.
            progress: told how many are judged.
            device: where models compute that are loaded for it; the CPU if it is not given.

        Raises:
            DataError: its lists cannot be used.
        """
        self.gate = gate_of(read_trainval(source.root))
        self._border, self._progress, self.device = border, progress, device
        self.problems: tuple[str, ...] = ()

    def evaluate(self, model: Model) -> list[_Mark]:
        """Judge a model on all of them that can be used."""
        marks, self.problems = score_images(
            model, self.gate, self._border, _mark, progress=self._progress
        )
        return marks


def promote(
    registered: VersionRef,
    arena: GateEvaluator,
    model: Model | None = None,
    *,
    run: Run,
    force: bool = False,
) -> Decision:
    """Let a version contend with the champion of its name, and write down how it went.

    The decision goes on the version and on the run. Whoever else becomes champion in the
    meantime is contended with, too.

    Args:
        registered: the challenger.
        arena: where.
        model: the challenger, if it is at hand; else it is loaded.
        run: in which that is done.
        force: whether it takes over even if it is not shown to be better.

    Raises:
        ModelError: the challenger cannot be loaded.
        DataError: the champion changed again and again.
    """
    known = version_info(registered.name, registered.version)
    challenger = _Rival(
        model=model or load(registered.uri, arena.device).model,
        seen=seen_images(known.run_id),
    )
    marks = arena.evaluate(challenger.model)
    for _ in range(_TRIES):
        rival = champion_of(registered.name)
        if rival == registered.version:
            return Decision(promoted=True, reason="Champion: it is so already.", metrics={})
        contest = _contest(arena, challenger, marks, known, registered, rival)
        decision = decide(contest, force=force)
        if record_decision(
            registered,
            rival,
            promoted=decision.promoted,
            reason=decision.reason,
            p_value=decision.metrics.get("gate/p_value"),
            log=functools.partial(run.log_decision, decision),
        ):
            return decision
    raise DataError(f"the champion of {registered.name} changes too often; try again later")


def try_promote(registered: VersionRef, arena: GateEvaluator, model: Model, run: Run) -> str:
    """Let a version contend, see `promote`; return how it went, in words.

    The model is registered by then: where the store goes away now, another time will do.
    """
    try:
        return promote(registered, arena, model, run=run).reason
    except StoreError as error:
        again = mlflow_run("promote", {"model": registered.uri})
        return f"Champion: not decided, since the tracking store failed ({error}); later: {again}"


def _contest(
    arena: GateEvaluator,
    challenger: _Rival,
    marks: Sequence[_Mark],
    known: VersionInfo,
    registered: VersionRef,
    rival: str | None,
) -> Contest:
    """Judge the present champion and find the images that count."""
    notes = []
    if arena.problems:
        notes.append(f"{len(arena.problems)} gate images cannot be used and are left out.")
    incumbent = None if rival is None else f"version {rival}"
    seen = set(challenger.seen or ())
    others: list[_Mark] | None = None
    trouble = ""
    if rival is not None:
        facts = version_info(registered.name, rival)
        digests = [of.tags.get("data.digest", "")[:12] for of in (facts, known)]
        if all(digests) and digests[0] != digests[1]:
            notes.append(f"Version {rival} was trained on other images.")
        try:
            address = f"models:/{registered.name}/{rival}"
            others = arena.evaluate(load(address, arena.device).model)
        except ModelError as error:
            trouble = f"{error}; mend it, or promote another with force=true"
        images = seen_images(facts.run_id)
        seen |= images or set()
        if images is None:
            notes.append(
                f"It is not known which images version {rival} was trained on: if some of these, "
                "it looks better than it is."
            )
    left_out = sum(mark.digest in seen for mark in marks)
    if left_out:
        notes.append(f"{left_out} gate images are left out: one of the two was trained on them.")
    # A file may have changed while the second one was judged.
    theirs = {mark.of(): mark for mark in (marks if others is None else others)}
    good = [mark for mark in marks if mark.of() in theirs and mark.digest not in seen]
    return Contest(
        challenger=_evaluation(good),
        champion=None if others is None else _evaluation([theirs[m.of()] for m in good]),
        incumbent=incumbent,
        trouble=trouble,
        notes=tuple(notes),
        unknown=challenger.seen is None,
        num_candidates=int(known.tags.get("gate.looks", "1")),
    )


def _mark(judged: ScoredImage) -> _Mark:
    return _Mark(example=judged.example, digest=judged.digest, counts=judged.counts)


def _evaluation(marks: Sequence[_Mark]) -> Evaluation | None:
    """Put marks together; None if there are none."""
    if not marks:
        return None
    return Evaluation.of("gate", [(mark.example, mark.counts) for mark in marks])
