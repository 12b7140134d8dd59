"""What the training loop costs beside the bare step, and what each of its parts takes."""

import dataclasses
import time
from collections.abc import Iterator, Mapping

from segmentation.batches import Batch, Batches
from segmentation.benchmark.bare import BareStep
from segmentation.benchmark.charts import shares
from segmentation.benchmark.findings import Bench, Findings
from segmentation.benchmark.ours import alike, checkpoint
from segmentation.benchmark.pairing import Repeated, interleaved, seconds
from segmentation.config import TrainingConfig
from segmentation.pipeline import Splits, load_data
from segmentation.reports import EpochReport, FitResult, Observer, Samples
from segmentation.tracking.runs import TrackingObserver, tracked_run
from segmentation.training import Trainer, fit
from segmentation.unet import build_unet

_STEPS = 8  # an epoch's; every batch is full, so that each step has the bare step's shape
_PARTS = ("bare step", "average", "data", "augmentation", "validation", "checkpoints")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Width:
    """What was measured at one width.

    Attributes:
        width: of the network.
        rates: seconds an image, by what was measured.
    """

    width: int
    rates: Mapping[str, Repeated]

    @property
    def efficiency(self) -> Repeated:
        """Speed of the loop's steps over that of the bare step."""
        return self.rates["bare"].over(self.rates["loop"])

    @property
    def efficiency_default(self) -> Repeated:
        """The same over the bare step with AdamW as PyTorch makes it by default."""
        return self.rates["bare, default AdamW"].over(self.rates["loop"])

    def parts(self, images: int, val_images: int) -> dict[str, float]:
        """Return the share of each part in an epoch, so that they add up to 1.

        Args:
            images: of an epoch.
            val_images: judged after each.
        """
        median = {name: rate.median for name, rate in self.rates.items()}
        seconds_of = {
            "bare step": median["bare"] * images,
            "average": (median["kept"] - median["bare"]) * images,
            "data": (median["plain"] - median["kept"]) * images,
            "augmentation": (median["loop"] - median["plain"]) * images,
            "validation": median["validation"] * val_images,
            "checkpoints": median["checkpoint"],
        }
        whole = sum(seconds_of.values())
        return {name: value / whole for name, value in seconds_of.items()}


class _Kept(Batches):
    """Hands out the same batch again and again, as if data cost nothing."""

    def __init__(self, splits: Splits, config: TrainingConfig) -> None:
        super().__init__(splits["train"], splits["val"], config)
        self._first = next(iter(super().epoch(1)))

    def epoch(self, number: int, size: int = 0) -> Iterator[Batch]:
        """Yield the one batch as often as an epoch has steps."""
        return (self._first for _ in range(len(self)))


class TimedObserver:
    """Passes on what it is told, and adds up how long the other takes."""

    def __init__(self, observer: Observer) -> None:
        """Wrap an observer."""
        self._observer = observer
        self.in_loop, self.at_end = 0.0, 0.0

    def on_fit_start(self, samples: Samples) -> None:
        """Pass it on."""
        self.in_loop += seconds(lambda: self._observer.on_fit_start(samples))

    def on_epoch_end(self, report: EpochReport) -> None:
        """Pass it on."""
        self.in_loop += seconds(lambda: self._observer.on_epoch_end(report))

    def on_fit_end(self, result: FitResult) -> None:
        """Pass it on; the loop's time ends before."""
        self.at_end += seconds(lambda: self._observer.on_fit_end(result))


def measure(bench: Bench) -> Iterator[Findings]:
    """Measure every width, then track a real training; see `Suite`."""
    config = bench.asked.config
    whole = load_data(config.data, bench.source, lambda *_: None)
    images = min(_STEPS * config.training.batch_size, len(whole["train"]))
    images -= images % min(images, config.training.batch_size)
    data = dataclasses.replace(config.data, train_images=images)
    splits = load_data(data, bench.source, lambda *_: None)
    sizes = len(whole["train"]), len(whole["val"])
    found: list[_Width] = []
    for width in bench.asked.own.widths_of("loop"):
        found.append(_measure_width(bench, splits, width))
        speed = 1 / found[-1].rates["loop"].median
        bench.say(
            f"loop: width {width}: {speed:.1f} images/s, {found[-1].efficiency.text(2)} of the "
            "bare step's"
        )
        yield _findings(found, None, sizes, bench)
    yield _findings(found, _track(bench, whole), sizes, bench)


def _measure_width(bench: Bench, splits: Splits, width: int) -> _Width:
    config, compute, own = bench.asked.config, bench.compute, bench.asked.own
    model = dataclasses.replace(config.model, width=width)
    training = alike(config.training, own.repeats + 2)
    plain = dataclasses.replace(training, augment="none")
    train, val = splits["train"], splits["val"]
    trainers = {
        "loop": Trainer(build_unet(model, 0), Batches(train, val, training), training, compute),
        "plain": Trainer(build_unet(model, 0), Batches(train, val, plain), plain, compute),
        "kept": Trainer(build_unet(model, 0), _Kept(splits, plain), plain, compute),
    }
    images = min(training.batch_size, len(train))
    size = config.data.image_size
    fused, default = (
        BareStep(build_unet(model, 0), images, size, compute, fused=fused)
        for fused in (True, False)
    )
    steps = max(1, len(train) // images)

    def epoch_of(name: str) -> float:
        epochs[name] += 1
        return 1 / trainers[name].train(epochs[name])[1]

    def bare(step: BareStep) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            step()
        return (time.perf_counter() - started) / (steps * images)

    epochs = dict.fromkeys(trainers, 0)
    judge = trainers["loop"]
    return _Width(
        width=width,
        rates=interleaved(
            {
                "loop": lambda: epoch_of("loop"),
                "bare": lambda: bare(fused),
                "plain": lambda: epoch_of("plain"),
                "kept": lambda: epoch_of("kept"),
                "bare, default AdamW": lambda: bare(default),
                "validation": lambda: seconds(judge.validate) / len(val),
                "checkpoint": lambda: seconds(lambda: checkpoint(judge)),
            },
            own.repeats,
        ),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Tracked:
    """A real tracked training.

    Attributes:
        share: of the loop's time that tracking takes, in [0, 1].
        loop: seconds of the loop.
        end: seconds that tracking takes after it.
    """

    share: float
    loop: float
    end: float


def _track(bench: Bench, splits: Splits) -> _Tracked:
    """Train with all defaults in a run of its own, in the store that the user has."""
    config = bench.asked.config
    training, val = config.training, splits["val"]
    batches = Batches(splits["train"], val, training)
    with tracked_run("benchmark: a tracked training", {}, bench.run):
        tracker = TrackingObserver(val, training.epochs)
        timed = TimedObserver(tracker)
        started = time.perf_counter()
        network = build_unet(config.model, training.seed)
        result = fit(network, batches, training, bench.compute, [timed])
        timed.in_loop += seconds(tracker.flush)
        bench.say(f"loop: a tracked training took {time.perf_counter() - started:.0f} s")
    return _Tracked(share=timed.in_loop / result.seconds, loop=result.seconds, end=timed.at_end)


def _findings(
    found: list[_Width], tracked: _Tracked | None, sizes: tuple[int, int], bench: Bench
) -> Findings:
    metrics: dict[str, float] = {}
    rows = []
    parts = {f"width {one.width}": one.parts(*sizes) for one in found}
    for one in found:
        name = f"width_{one.width}"
        metrics |= one.efficiency.metrics(f"loop_over_bare_step/{name}")
        metrics |= one.efficiency_default.metrics(f"loop_over_bare_step_default_adamw/{name}")
        metrics[f"images_per_second/{name}"] = 1 / one.rates["loop"].median
        metrics[f"bare_images_per_second/{name}"] = 1 / one.rates["bare"].median
        share = parts[f"width {one.width}"]
        for part in _PARTS:
            plain = part.replace(",", "").replace(" ", "_")
            metrics[f"share_{plain}/{name}"] = share[part]
        rows.append(
            (
                str(one.width),
                f"{1 / one.rates['loop'].median:.1f}",
                f"{1 / one.rates['bare'].median:.1f}",
                one.efficiency.text(3),
                one.efficiency_default.text(3),
                *(f"{share[part]:.1%}" for part in _PARTS),
            )
        )
    lines = [
        f"Width {one.width}: training steps, loading and augmentation included, run at "
        f"{one.efficiency.median:.1%} of the bare step's speed ({one.efficiency.low:.1%} to "
        f"{one.efficiency.high:.1%}); against AdamW as PyTorch makes it by default "
        f"{one.efficiency_default.median:.1%}"
        for one in found
    ]
    if tracked:
        metrics |= {
            "share_tracking": tracked.share,
            "tracked_loop_seconds": tracked.loop,
            "tracking_after_loop_seconds": tracked.end,
        }
        lines.append(
            f"MLflow takes {tracked.share:.1%} of the loop's {tracked.loop:.1f} s in a default "
            f"training (width {bench.asked.config.model.width}), and {tracked.end:.2f} s after it"
        )
    return Findings(
        metrics=metrics,
        columns=(
            "width",
            "images/s",
            "bare step",
            "ratio",
            "ratio, default AdamW",
            *(f"share: {part}" for part in _PARTS),
        ),
        rows=tuple(rows),
        chart=lambda: shares("What an epoch is made of", parts),
        lines=tuple(lines),
        precision=bench.compute.precision,
    )
