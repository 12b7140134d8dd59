"""What suite `peers` makes of its measurements."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from segmentation.benchmark.charts import bars, lines
from segmentation.benchmark.contest import Result, bouts
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.pairing import Measurement
from segmentation.benchmark.peer_networks import SCRIPT_PATCH, SCRIPT_WIDTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Whose images a second are compared at width 64: the script's, ours with the same network, and
#: ours with the patch that `train` has by default.
SPEEDS = _SCRIPT, _SAME, _OWN = "script", "ours_same_network", "ours_default_patch"

_CHOICE = (
    "Each has the weights of its epoch with the best Dice on the validation images; validating "
    "takes from the time of ours and not from that of the others. The well-known script alone has "
    "its last weights, as such scripts keep them"
)


def findings(
    results: Sequence[Result],
    floors: Mapping[str, float],
    speeds: Mapping[str, Measurement],
    bench: BenchContext,
) -> SuiteResult:
    """Put together what is known so far, of at least one training.

    Args:
        results: the trainings, judged.
        floors: what trivial answers score on the same images, and the number of these.
        speeds: images a second in training, by `SPEEDS`; or none.
        bench: what was asked.
    """
    metrics = dict(floors)
    for name, speed in speeds.items():
        metrics |= speed.metrics(f"width_{SCRIPT_WIDTH}_images_per_second/{name}")
        if name != _SCRIPT:
            ratio = speed.over(speeds[_SCRIPT])
            metrics |= ratio.metrics(f"width_{SCRIPT_WIDTH}_speed/{name}-{_SCRIPT}")
    for one in results:
        metrics |= {
            f"dice/{one.key}_seed{one.seed}": float(one.dice.mean()),
            f"epochs/{one.key}_seed{one.seed}": one.epochs,
            f"training_seconds/{one.key}_seed{one.seed}": one.seconds,
        }
    for key in dict.fromkeys(one.key for one in results):
        metrics[f"dice/{key}"] = float(
            np.mean([one.dice.mean() for one in results if one.key == key])
        )
    for bout in bouts(results):
        metrics |= {
            f"difference/{bout.key}": bout.comparison.difference,
            f"difference_low/{bout.key}": bout.comparison.low,
            f"difference_high/{bout.key}": bout.comparison.high,
        }
    floor = floors["floor/dice_all_pet"]
    return SuiteResult(
        metrics=metrics,
        columns=("network", "seconds asked", "seconds taken", "seed", "Dice", "epochs"),
        rows=tuple(
            (
                one.name,
                str(one.budget),
                f"{one.seconds:.1f}",
                str(one.seed),
                f"{one.dice.mean():.4f}",
                f"{one.epochs:.1f}",
            )
            for one in results
        ),
        chart=lambda: _chart(results, floor),
        lines=tuple(_lines(results, floors, speeds, bench)),
        precision=", ".join(
            dict.fromkeys([bench.compute.precision, *(p.precision for p in bench.asked.peers)])
        ),
    )


def _lines(
    results: Sequence[Result],
    floors: Mapping[str, float],
    speeds: Mapping[str, Measurement],
    bench: BenchContext,
) -> Iterator[str]:
    if speeds:
        own, same = (speeds[name].over(speeds[_SCRIPT]) for name in (_OWN, _SAME))
        patch = bench.asked.config.model.patch
        yield (
            f"At width {SCRIPT_WIDTH} ours (patch {patch}) trains {speeds[_OWN].text()} images/s "
            f"and the well-known script {speeds[_SCRIPT].text()}: {own.text()} times as many. The "
            f"script's very network (patch {SCRIPT_PATCH}) trains here at {speeds[_SAME].text()}: "
            f"{same.text()} times as many"
        )
    for bout in bouts(results):
        found = bout.comparison
        only = "; the noise of the seeds is not in it" if found.seeds == 1 else ""
        yield (
            f"Ours after {bout.ours} s less {bout.name} after {bout.peer} s: Dice "
            f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f}, {found.images} "
            f"images, {found.seeds} seed(s){only}): {found.verdict}"
        )
    yield _CHOICE
    who = (
        "of the gate split, by which rates may be chosen and nothing else can then be said"
        if bench.asked.own.peer_lr_list
        else "on which nobody trained and by which nobody chose"
    )
    yield f"Judged by {floors['images']:.0f} images, {who}"
    yield (
        f"Floor: answering 'pet' everywhere scores Dice {floors['floor/dice_all_pet']:.3f} on "
        "these images"
    )


def _chart(results: Sequence[Result], floor: float) -> "Figure":
    """Draw Dice over time, or bars where there is one time only."""
    title, y = "Dice on images never trained on", "mean Dice"
    if len({one.budget for one in results}) > 1:
        return lines({title: _curves(results, floor)}, "seconds of training", {title: y})
    named: dict[str, tuple[float, ...]] = {}
    for one in results:
        named[one.name] = (*named.get(one.name, ()), float(one.dice.mean()))
    named["floor: all pet"] = (floor,)
    title += f", after {results[0].budget} s of training"
    return bars(title, y, {name: Measurement(values) for name, values in named.items()})


def _curves(
    results: Sequence[Result], floor: float
) -> dict[str, list[tuple[float, float, float, float]]]:
    """Return Dice over time of each side: the mean over seeds, and their range."""
    curves: dict[str, list[tuple[float, float, float, float]]] = {}
    budgets = sorted({one.budget for one in results})
    for name in dict.fromkeys(one.name for one in results):
        for budget in budgets:
            found = [float(r.dice.mean()) for r in results if (r.name, r.budget) == (name, budget)]
            if found:
                shown = (budget, min(found), float(np.mean(found)), max(found))
                curves.setdefault(name, []).append(shown)
    curves["floor: all pet"] = [(budget, floor, floor, floor) for budget in budgets]
    return curves
