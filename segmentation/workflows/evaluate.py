"""One evaluation from start to end: a model, a split of a data set, a run."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from segmentation.config.training import DataConfig
from segmentation.data.oxford_pets import Example, has_test_list, read_list, read_trainval
from segmentation.data.sources import Source
from segmentation.data.splits import gate_of
from segmentation.errors import ConfigError, DataError
from segmentation.evaluation.analysis import Analysis, analyze
from segmentation.evaluation.figures import encode
from segmentation.evaluation.report.plots import plot_all, png
from segmentation.evaluation.report.report import (
    ReportContext,
    description,
    html_report,
    report_figures,
    version_note,
)
from segmentation.tracking.registry.loading import LoadedModel
from segmentation.tracking.runs.run import tracked_run
from segmentation.tracking.summaries import evaluations
from segmentation.tracking.summaries.gallery import Gallery
from segmentation.utils.concurrency import Progress

SPLITS = ("test", "gate", "val", "train")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """A finished evaluation.

    Attributes:
        run_id: MLflow's.
        examination: what was found.
        about: what the report says of model and data.
    """

    run_id: str
    analysis: Analysis
    context: ReportContext


def examples_of(split: str, source: Source, loaded: LoadedModel) -> list[Example]:
    """Return the examples of a split; `val` and `train` are those of the model's own training.

    Raises:
        ConfigError: it is not known what the model was trained on, or that is not in this data.
        DataError: the lists cannot be used, or the split is empty.
    """
    if split == "test":
        if not has_test_list(source.root):
            raise DataError(
                f"{source.root / 'annotations' / 'test.txt'}: is not there; add the list of test "
                "images, or say split=gate"
            )
        return read_list(source.root, "test")
    trainval = read_trainval(source.root)
    if split == "gate":
        chosen = list(gate_of(trainval))
        if not chosen:
            raise DataError("the gate split, a fifth of the trainval list, is empty: use more data")
        return chosen
    known = loaded.splits
    if known is None or split not in known:
        raise ConfigError(
            f"split={split}: it is not known which images {loaded.label} was trained on; say test "
            "or gate"
        )
    by_id = {example.id: example for example in trainval}
    missing = sorted(set(known[split]) - set(by_id))
    if missing:
        raise ConfigError(
            f"split={split}: {len(missing)} of the {len(known[split])} images of that split, such "
            f"as {missing[0]}, are not in {source.name}; give the `data` on which "
            f"{loaded.label} was trained, or say test or gate"
        )
    return [by_id[name] for name in known[split]]


def evaluate_model(
    loaded: LoadedModel, source: Source, split: str, config: DataConfig, progress: Progress
) -> EvaluationResult:
    """Examine a model on a split and log a run of it.

    Args:
        loaded: the model.
        source: the data set.
        split: one of `SPLITS`.
        config: what the border counts as, and what to do about bad examples.
        progress: told how many images are done.

    Raises:
        DataError: files cannot be used, all of them named, and `bad_examples` is `stop`.
    """
    examples = examples_of(split, source, loaded)
    gallery = Gallery(lots=_lots(examples))
    found = analyze(split, loaded.model, examples, config.border, gallery, progress)
    if found.problems and config.bad_examples == "stop":
        raise DataError(
            f"{len(found.problems)} of {len(examples)} examples cannot be used; mend them or "
            "remove them from the lists, or say bad_examples=skip to leave them out:",
            found.problems,
        )
    _require_its_own(found, loaded, source)
    about = _about(found, loaded, source)
    figures = report_figures(found, about)
    plots = {name: png(figure) for name, figure in plot_all(found).items()}
    pictures = {
        **plots,
        "worst.jpg": encode(gallery.worst(), "JPEG", quality=88),
        "random.jpg": encode(gallery.chosen(), "JPEG", quality=88),
    }
    settings = {
        # With a prefix: the plain names hold what was typed, as MLflow's launcher logs it.
        "evaluation.model": loaded.label,
        "evaluation.split": split,
        "evaluation.data": source.name,
        "evaluation.border": config.border,
    }
    tags = {"data.source": source.name, "model": loaded.label}
    name = f"evaluate {loaded.label} on {split}"
    with tracked_run(name, tags, system_metrics=False) as run:
        evaluations.log_analysis(run, found, loaded, source.root, settings, found.metrics())
        evaluations.log_pictures(
            run, found, gallery, plots, html_report(figures, pictures), description(figures)
        )
        low, high = found.evaluation.interval()
        evaluations.tell_version(
            loaded,
            split,
            f"{found.evaluation.counts.mean().dice:.4f} ({low:.3f} to {high:.3f}, "
            f"{len(found.examples)} images of {source.name}, border {config.border})",
            version_note(figures, source.name, run.id),
        )
    return EvaluationResult(run_id=run.id, analysis=found, context=about)


def _about(found: Analysis, loaded: LoadedModel, source: Source) -> ReportContext:
    """Find out which of the images the model has seen before."""
    seen = None
    if loaded.splits is not None:
        digests = {name: set(part.values()) for name, part in loaded.splits.items()}
        seen = {
            name: sum(digest in digests.get(name, ()) for digest in found.digests)
            for name in ("train", "val")
        }
    return ReportContext(model=loaded.label, uri=loaded.uri, data=source.description, seen=seen)


def _require_its_own(found: Analysis, loaded: LoadedModel, source: Source) -> None:
    """Refuse other pictures under the names of those that a model was trained on.

    Raises:
        ConfigError: the data is not the one that it was trained on.
    """
    known = (loaded.splits or {}).get(found.split)
    if found.split not in ("val", "train") or known is None:
        return
    pairs = zip(found.examples, found.digests, strict=True)
    others = [example.id for example, digest in pairs if known[example.id] != digest]
    if others:
        raise ConfigError(
            f"split={found.split}: {len(others)} of {len(found.examples)} images of {source.name}, "
            f"such as {others[0]}, are other pictures than those of the same names on which "
            f"{loaded.label} was trained; give its own `data`, or say test or gate"
        )


def _lots(examples: Sequence[Example]) -> dict[str, int]:
    """Draw a lot for each example, by its id; always the same of the same examples."""
    names = sorted(example.id for example in examples)
    order = np.random.default_rng(0).permutation(len(names))
    return dict(zip(names, order.tolist(), strict=True))
