"""What suite `loop` makes of its measurements."""

import dataclasses
from collections.abc import Mapping, Sequence

from segmentation.benchmark.charts import shares
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.pairing import Measurement, weighted

_PARTS = (
    "bare step",
    "rest of the loop",
    "data",
    "augmentation",
    "validation",
    "tracking",
    "checkpoints",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tracked:
    """A default training that was tracked in MLflow.

    Attributes:
        width: of its network.
        images, val_images: on which it trained and was validated.
        epochs: how many ran.
        best: of these the ones that were the best so far, after which the weights are copied.
        loop: seconds of the loop.
        tracking: seconds of these that tracking took.
        end: seconds that it took after the loop.
        keeping: seconds of the loop that writing checkpoints took.
        background: seconds of a processor that delivery and signs of life took meanwhile.
    """

    width: int
    images: int
    val_images: int
    epochs: int
    best: int
    loop: float
    tracking: float
    end: float
    keeping: float
    background: float

    @property
    def share(self) -> float:
        """Share of the loop's time that tracking took, in [0, 1]."""
        return self.tracking / self.loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class Width:
    """What was measured at one width.

    Attributes:
        width: of the network.
        shares: of a default training's epochs, by the side of their images in pixels, rising.
        rates: what was measured, by name. In seconds an image at each side: `loop, 64 px` (the
            training loop), `bare, 64 px` (the bare step with the loop's optimiser),
            `bare, default AdamW, 64 px` and `kept, 64 px` (the loop, always with the same batch).
            At the highest side alone: `plain, 128 px` (the loop on images as they are stored).
            `validation`, in seconds an image, and `checkpoint`, in seconds a copy of the weights.
    """

    width: int
    shares: Mapping[int, float]
    rates: Mapping[str, Measurement]

    @property
    def full(self) -> int:
        """The highest side."""
        return max(self.shares)

    def at(self, kind: str, side: int) -> Measurement:
        """Return seconds an image at one side."""
        return self.rates[f"{kind}, {side} px"]

    def mean(self, kind: str) -> Measurement:
        """Return seconds an image over a default training, each side as often as it has it."""
        return weighted([self.at(kind, side) for side in self.shares], list(self.shares.values()))

    def efficiencies(self, kind: str) -> dict[str, Measurement]:
        """Return the speed of the loop over that of a bare step.

        Args:
            kind: of the bare step, `bare` or `bare, default AdamW`.

        Returns:
            By `whole_training`, which weighs each side by its epochs, and `side_64` and so on.
        """
        found = {"whole_training": self.mean(kind).over(self.mean("loop"))}
        for side in self.shares:
            found[f"side_{side}"] = self.at(kind, side).over(self.at("loop", side))
        return found

    def parts(self, tracked: Tracked) -> dict[str, float]:
        """Return the share of each part in a mean epoch of a default training; they add up to 1.

        Data are what the loop takes longer to gather images than to repeat a batch; augmentation,
        which also makes the smaller sides, is all that is then left of making batches. The rest of
        the loop is what the loop has besides the bare step: the criterion with its mask, the
        moving average, copies to the device, rates. How long tracking takes, and after which share
        of epochs weights are copied, is known from the one tracked training alone.
        """
        bare, kept, loop = (self.mean(kind) for kind in ("bare", "kept", "loop"))
        data = _less(self.at("plain", self.full), self.at("kept", self.full))
        images = tracked.images
        seconds_of = {
            "bare step": bare.median * images,
            "rest of the loop": _less(kept, bare).median * images,
            "data": data.median * images,
            "augmentation": _less(_less(loop, kept), data).median * images,
            "validation": self.rates["validation"].median * tracked.val_images,
            "tracking": tracked.tracking / tracked.epochs,
            "checkpoints": self.rates["checkpoint"].median * tracked.best / tracked.epochs
            + tracked.keeping / tracked.epochs,
        }
        whole = sum(seconds_of.values())
        return {name: seconds_of[name] / whole for name in _PARTS}

    def text(self) -> str:
        """Say how near the loop comes to the bare step."""
        own, default = (self.efficiencies(kind) for kind in ("bare", "bare, default AdamW"))
        whole = own.pop("whole_training")
        sides = ", ".join(
            f"{ratio.median:.1%} at {name.removeprefix('side_')} px" for name, ratio in own.items()
        )
        return (
            f"Width {self.width}: over a default training its steps, loading and augmentation "
            f"included, run at {whole.median:.1%} of the speed of the bare step with the same "
            f"optimiser, the fused AdamW ({whole.low:.1%} to {whole.high:.1%}; {sides}); of that "
            f"with AdamW as PyTorch makes it by default at {default['whole_training'].median:.1%}"
        )


def findings(found: Sequence[Width], tracked: Tracked, bench: BenchContext) -> SuiteResult:
    """Put together what is known so far, of at least one width."""
    sides = [f"side_{side}" for side in found[0].shares]
    ratios = ["whole_training", *sides]
    metrics = _tracked_metrics(tracked)
    rows = []
    parts = {f"width {one.width}": one.parts(tracked) for one in found}
    for one in found:
        metrics |= _metrics(one, parts[f"width {one.width}"])
        own, default = (one.efficiencies(kind) for kind in ("bare", "bare, default AdamW"))
        rows.append(
            (
                str(one.width),
                *(own[name].text(3) for name in ratios),
                default["whole_training"].text(3),
                f"{1 / one.at('loop', one.full).median:.1f}",
                f"{1 / one.at('bare', one.full).median:.1f}",
                *(f"{share:.1%}" for share in parts[f"width {one.width}"].values()),
            )
        )
    lines = [one.text() for one in found]
    lines += [
        f"MLflow takes {tracked.share:.1%} of the loop's {tracked.loop:.1f} s in a default "
        f"training (width {tracked.width}), and {tracked.end:.2f} s after it",
        f"Checkpoints take {tracked.keeping / tracked.loop:.2%} of the same loop; delivery to the "
        f"store and signs of life, in the background, {tracked.background:.2f} s of a processor, "
        f"{tracked.background / tracked.loop:.2%}",
        f"Weights are copied after {tracked.best} of its {tracked.epochs} epochs, each the best so "
        f"far: {_copies(found)}",
    ]
    full = f"{found[0].full} px"
    return SuiteResult(
        metrics=metrics,
        columns=(
            "width",
            "loop over bare step, whole training",
            *(f"at {name.removeprefix('side_')} px" for name in sides),
            "whole training, default AdamW",
            f"images/s, {full}",
            f"bare step, {full}",
            *(f"share: {part}" for part in _PARTS),
        ),
        rows=tuple(rows),
        chart=lambda: shares("What a mean epoch of a default training is made of", parts),
        lines=tuple(lines),
        precision=bench.compute.precision,
    )


def _less(one: Measurement, other: Measurement) -> Measurement:
    """Subtract round by round."""
    return weighted([one, other], [1, -1])


def _metrics(one: Width, parts: Mapping[str, float]) -> dict[str, float]:
    name = f"width_{one.width}"
    metrics: dict[str, float] = {}
    for kind, prefix in (
        ("bare", "loop_over_bare_step"),
        ("bare, default AdamW", "loop_over_bare_step_default_adamw"),
    ):
        for where, ratio in one.efficiencies(kind).items():
            metrics |= ratio.metrics(f"{prefix}/{name}_{where}")
    for side in one.shares:
        metrics[f"images_per_second/{name}_side_{side}"] = 1 / one.at("loop", side).median
        metrics[f"bare_images_per_second/{name}_side_{side}"] = 1 / one.at("bare", side).median
    metrics |= one.rates["checkpoint"].metrics(f"checkpoint_copy_seconds/{name}")
    for part, share in parts.items():
        metrics[f"share_{part.replace(' ', '_')}/{name}"] = share
    return metrics


def _tracked_metrics(tracked: Tracked) -> dict[str, float]:
    return {
        "tracked_loop_share_of_tracking": tracked.share,
        "tracked_loop_seconds": tracked.loop,
        "tracked_loop_share_of_checkpoints": tracked.keeping / tracked.loop,
        "tracked_loop_share_of_background": tracked.background / tracked.loop,
        "tracked_epochs": tracked.epochs,
        "tracked_epochs_that_were_best": tracked.best,
        "tracking_after_loop_seconds": tracked.end,
    }


def _copies(found: Sequence[Width]) -> str:
    """Say how long a copy of the weights takes."""
    return ", ".join(
        f"{1000 * one.rates['checkpoint'].median:.1f} ms a copy at width {one.width}"
        for one in found
    )
