"""One evaluation from start to end: a model, a split of a data set, a run with a report."""

import dataclasses
import logging

from segmentation.config.commands import EvaluateOptions
from segmentation.config.training import OF_EVALUATE, Config
from segmentation.data.example import Example
from segmentation.data.sources import Source, resolve_source
from segmentation.data.splits import gate_of
from segmentation.errors import ConfigError, DataError
from segmentation.evaluation.analysis import Analysis, analyze
from segmentation.evaluation.gallery import Gallery
from segmentation.evaluation.report.report import console_lines, report_figures
from segmentation.runtime.device import choose_compute
from segmentation.tracking.commands import predict_with, view_run
from segmentation.tracking.project_run import open_store
from segmentation.tracking.registry.loading import LoadedModel, default_model, load
from segmentation.tracking.runs.run import tracked_run
from segmentation.tracking.summaries.evaluations import log_analysis, log_report, note_on_version
from segmentation.utils.concurrency import Progress

_log = logging.getLogger(__name__)


def evaluate_model(
    asked: EvaluateOptions,
    config: Config,
    progress: Progress,
    model: LoadedModel | None = None,
) -> tuple[str, str]:
    """Score a model on a split in every way, and log a run with a report.

    Returns:
        The run's id and the model's address.
    """
    compute = choose_compute(config.training)
    open_store()
    source = resolve_source(config.data)
    _log.info(source.summary)
    split, address = asked.split, asked.model or default_model("champion", source)
    loaded = model or load(address, compute.device, allow_pickle=asked.allow_pickle)
    _log.info("Model: %s, on %s", loaded.label, loaded.model.device.type)
    examples = _examples_of(split, source, loaded)
    gallery = Gallery(examples)
    analysis = analyze(split, loaded.model, examples, config.data.border, gallery.draw, progress)
    if analysis.problems and config.data.bad_examples == "stop":
        raise DataError(
            f"{len(analysis.problems)} of {len(examples)} examples cannot be used; mend or remove "
            "them, or say bad_examples=skip to leave them out:",
            analysis.problems,
        )
    _require_own_images(analysis, loaded, source)
    figures = report_figures(
        analysis,
        model=loaded.label,
        uri=loaded.uri,
        data=source.description,
        seen=_seen(analysis, loaded),
        own_threshold=loaded.threshold,
    )
    tags = {"data.source": source.name, "model": loaded.label}
    name = f"evaluate {analysis.metrics()[f'{split}/dice']:.4f} {loaded.label} on {split}"
    with tracked_run(name, tags) as run:
        log_analysis(run, analysis, loaded, source)
        settings = config.used(OF_EVALUATE, data=source.name, device=compute.device.type)
        run.log_settings(dataclasses.asdict(asked) | {"model": loaded.address} | settings)
        note_on_version(loaded, analysis, figures, source, run)
        log_report(run, analysis, figures, gallery)
    left_out = [f"Left out: {one}" for one in analysis.problems]
    for line in [*left_out, *console_lines(figures)]:
        _log.info(line)
    _log.info("Look:  %s", view_run(run.id))
    _log.info("Share: %s/report.html, among that run's artifacts, is the report in one file", split)
    _log.info("Next:  %s", predict_with(loaded.uri, source))
    return run.id, loaded.uri


def _examples_of(split: str, source: Source, loaded: LoadedModel) -> list[Example]:
    """Return the examples of a split; `train` and `val` are those of the model's own training."""
    if split == "test":
        if test := source.test():
            return test
        place = source.root / ("annotations/test.txt" if source.labels.trimap else "test/images")
        raise DataError(f"{place}: is not there; add the test images, or say split=gate")
    trainval = source.trainval()
    if split == "gate":
        if gate := list(gate_of(trainval)):
            return gate
        raise DataError("the gate split, a fifth of the trainval list, is empty: use more data")
    known = (loaded.splits or {}).get(split)
    if known is None:
        raise ConfigError(
            f"split={split}: it is not known which images {loaded.label} was trained on; say test "
            "or gate"
        )
    by_id = {example.id: example for example in trainval}
    if missing := sorted(set(known) - set(by_id)):
        raise ConfigError(
            f"split={split}: {len(missing)} of the {len(known)} images of that split, such as "
            f"{missing[0]}, are not in {source.name}; give the `data` on which {loaded.label} was "
            "trained, or say test or gate"
        )
    return [by_id[name] for name in known]


def _require_own_images(analysis: Analysis, loaded: LoadedModel, source: Source) -> None:
    """Refuse other images under the names of those that a model was trained on."""
    known = (loaded.splits or {}).get(analysis.split)
    if known is None or analysis.split not in ("val", "train"):
        return
    pairs = zip(analysis.examples, analysis.digests, strict=True)
    if others := [example.id for example, digest in pairs if known[example.id] != digest]:
        raise ConfigError(
            f"split={analysis.split}: {len(others)} of {len(analysis.examples)} images of "
            f"{source.name}, such as {others[0]}, are other pictures than those of the same names "
            f"on which {loaded.label} was trained; give its own `data`, or say test or gate"
        )


def _seen(analysis: Analysis, loaded: LoadedModel) -> dict[str, int] | None:
    """Count the images that the model has seen before, under whatever name; None: not known."""
    if loaded.splits is None:
        return None
    digests = {name: set(part.values()) for name, part in loaded.splits.items()}
    return {
        name: sum(digest in digests.get(name, ()) for digest in analysis.digests)
        for name in ("train", "val")
    }
