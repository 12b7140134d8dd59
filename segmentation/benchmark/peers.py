"""Ours against the well-known script, segmentation_models_pytorch and MONAI, by the clock."""

import copy
import dataclasses
import gc
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from segmentation.batches import Batches
from segmentation.benchmark.bare import BareStep
from segmentation.benchmark.charts import bars, lines
from segmentation.benchmark.contest import Result, bouts
from segmentation.benchmark.findings import Bench, Findings
from segmentation.benchmark.ours import Timed, train_ours, trainer
from segmentation.benchmark.pairing import Repeated, interleaved
from segmentation.benchmark.peer_networks import SCRIPT_PATCH, SCRIPT_WIDTH, build
from segmentation.benchmark.peer_table import HOW_TO_INSTALL, missing
from segmentation.benchmark.peer_training import train_within
from segmentation.benchmark.scoring import score, unseen
from segmentation.benchmark.script import BATCH, ScriptTraining
from segmentation.config import Config
from segmentation.devices import choose_compute
from segmentation.evaluation import Evaluation
from segmentation.pets import Example
from segmentation.pipeline import Splits, load_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPEED_IMAGES = 2 * BATCH  # of a round of the comparison of speeds
_SPEED_REPEATS = 3


def measure(bench: Bench) -> Iterator[Findings]:
    """Compare speeds, then train each peer for each time and seed; see `Suite`."""
    asked = bench.asked
    if asked.own.peers == "auto" and (away := missing()):
        bench.say(f"peers: without {' and '.join(away)}; `{HOW_TO_INSTALL}` gets them")
    splits = load_data(asked.config.data, bench.source, lambda *_: None)
    judges = unseen(bench.source, splits, asked.own.judged)
    speeds = _speeds(bench) if any(peer.recipe == "script" for peer in asked.peers) else {}
    for name, speed in speeds.items():
        bench.say(f"peers: {name}, same network: {speed.text()} images/s in training")
    results: list[Result] = []
    floors: dict[str, float] = {}
    for name, budget, seed, timed in _trainings(bench, splits):
        judged = _judge(name, timed, judges, bench)
        floors = floors or judged.floors() | {"images": float(len(judged.counts))}
        results.append(
            Result(
                name=name,
                budget=budget,
                seed=seed,
                seconds=timed.seconds,
                images_per_second=timed.images_per_second,
                epochs=timed.epochs,
                dice=judged.counts.dice(),
            )
        )
        last = results[-1]
        bench.say(
            f"peers: {name}, {budget} s, seed {seed}: Dice {last.dice.mean():.3f} after "
            f"{timed.epochs:.1f} epochs at {timed.images_per_second:.1f} images/s"
        )
        yield _findings(results, floors, speeds, bench)


def _judge(name: str, timed: Timed, judges: Sequence[Example], bench: Bench) -> Evaluation:
    size = bench.asked.config.data.image_size
    evaluation = score(name, timed.network, size, judges, bench.compute.device)
    gc.collect()  # a network of width 64 with its gradients is large
    return evaluation


def _trainings(bench: Bench, splits: Splits) -> Iterator[tuple[str, int, int, Timed]]:
    """Train each side for each time and seed, all sides of a time one after the other."""
    asked = bench.asked
    size = asked.config.data.image_size
    training = asked.config.training
    for seed in range(asked.own.seeds):
        scripts = {  # whose constant rate lets one training go on from one time to the next
            peer.name: ScriptTraining(
                build(peer.network, seed),
                splits["train"].examples,
                size,
                peer.lr,
                seed,
                bench.compute.device,
            )
            for peer in asked.peers
            if peer.recipe == "script"
        }
        for budget in asked.own.second_list:
            mine = train_ours(budget, seed, asked.config, splits, bench.compute)
            yield "ours", budget, seed, mine
            for peer in asked.peers:
                if peer.name in scripts:
                    yield peer.name, budget, seed, scripts[peer.name].run(budget)
                    continue
                compute = choose_compute(dataclasses.replace(training, precision=peer.precision))
                seeded = dataclasses.replace(training, seed=seed)
                batches = Batches(splits["train"], splits["val"], seeded)
                network = build(peer.network, seed)
                # What PyTorch prepares at a first step is no part of a training; ours has had its
                # trial by now, and the script the comparison of speeds.
                BareStep(copy.deepcopy(network), batches.batch_size, size, compute, fused=True)()
                timed = train_within(budget, network, peer.lr, training.loss, batches, compute)
                yield peer.name, budget, seed, timed


def _speeds(bench: Bench) -> dict[str, Repeated]:
    """Return images a second in training the script's network: as the script does it, and ours."""
    config = bench.asked.config
    everything = load_data(config.data, bench.source, lambda *_: None)
    count = min(_SPEED_IMAGES, len(everything["train"]))
    data = dataclasses.replace(config.data, train_images=count)
    few = Config(data=data, model=config.model, training=config.training)
    splits = load_data(few.data, bench.source, lambda *_: None)
    script = ScriptTraining(
        build("script", 0),
        splits["train"].examples,
        data.image_size,
        1e-3,
        0,
        bench.compute.device,
    )
    ours = trainer(
        few,
        splits,
        bench.compute,
        width=SCRIPT_WIDTH,
        patch=SCRIPT_PATCH,
        epochs=_SPEED_REPEATS + 2,
    )
    epoch = 0

    def train_script() -> float:
        images, before = script.images, script.seconds
        while script.images - images < count:
            script.step()
        return (script.images - images) / (script.seconds - before)

    def train_mine() -> float:
        nonlocal epoch
        epoch += 1
        return ours.train(epoch)[1]

    return interleaved({"script": train_script, "ours": train_mine}, _SPEED_REPEATS)


def _findings(
    results: Sequence[Result],
    floors: dict[str, float],
    speeds: dict[str, Repeated],
    bench: Bench,
) -> Findings:
    metrics = dict(floors)
    said = []
    for name, speed in speeds.items():
        metrics |= speed.metrics(f"same_network_images_per_second/{name}")
    if speeds:
        ratio = speeds["ours"].over(speeds["script"])
        metrics |= ratio.metrics("same_network_speed/ours-script")
        said.append(
            f"The same network (width {SCRIPT_WIDTH}, patch {SCRIPT_PATCH}) trains "
            f"{ratio.text()} times as fast here as by the well-known script"
        )
    for one in results:
        metrics |= {
            f"dice/{one.key}_seed{one.seed}": float(one.dice.mean()),
            f"images_per_second/{one.key}_seed{one.seed}": one.images_per_second,
            f"epochs/{one.key}_seed{one.seed}": one.epochs,
            f"training_seconds/{one.key}_seed{one.seed}": one.seconds,
        }
    for key in dict.fromkeys(one.key for one in results):
        metrics[f"dice/{key}"] = float(
            np.mean([one.dice.mean() for one in results if one.key == key])
        )
    for bout in bouts(results):
        found = bout.comparison
        metrics |= {
            f"difference/{bout.key}": found.difference,
            f"difference_low/{bout.key}": found.low,
            f"difference_high/{bout.key}": found.high,
        }
        only = "; the noise of the seeds is not in it" if found.seeds == 1 else ""
        said.append(
            f"Ours after {bout.ours} s less {bout.name} after {bout.peer} s: Dice "
            f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f}, {found.images} "
            f"images, {found.seeds} seed(s){only}): {found.verdict}"
        )
    floor = floors["floor/dice_all_pet"]
    said.append(f"Floor: answering 'pet' everywhere scores Dice {floor:.3f} on these images")
    return Findings(
        metrics=metrics,
        columns=("network", "seconds", "seed", "Dice", "images/s", "epochs"),
        rows=tuple(
            (
                one.name,
                str(one.budget),
                str(one.seed),
                f"{one.dice.mean():.4f}",
                f"{one.images_per_second:.1f}",
                f"{one.epochs:.1f}",
            )
            for one in results
        ),
        chart=lambda: _chart(results, floor),
        lines=tuple(said),
        precision=", ".join(
            dict.fromkeys([bench.compute.precision, *(p.precision for p in bench.asked.peers)])
        ),
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
    return bars(title, y, {name: Repeated(values) for name, values in named.items()})


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
