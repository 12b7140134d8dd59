"""Ours against the well-known script, segmentation_models_pytorch and MONAI, by the clock."""

import copy
import dataclasses
import gc
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from segmentation.benchmark.bare import BareStep
from segmentation.benchmark.contest import OURS, Result
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.ours import Timed, train_epoch, train_ours, trainer
from segmentation.benchmark.pairing import Measurement, Side, interleaved, seconds
from segmentation.benchmark.peer_findings import SPEEDS, findings
from segmentation.benchmark.peer_networks import SCRIPT_PATCH, SCRIPT_WIDTH, build
from segmentation.benchmark.peer_table import HOW_TO_INSTALL, PEERS, Peer, missing
from segmentation.benchmark.peer_training import train_within
from segmentation.benchmark.scoring import gate_images, score, unseen
from segmentation.benchmark.script import BATCH, ScriptTraining
from segmentation.config.training import Config
from segmentation.data.loader import BatchLoader
from segmentation.data.oxford_pets import Example
from segmentation.evaluation.scoring import Evaluation
from segmentation.runtime.device import choose_compute
from segmentation.workflows.session import Splits, load_data

_SPEED_IMAGES = 2 * BATCH  # of a round of the comparison of speeds
_SPEED_REPEATS = 3


def measure(bench: BenchContext) -> Iterator[SuiteResult]:
    """Compare speeds, then train each peer for each time and seed; see `Suite`."""
    asked = bench.asked
    if asked.own.peers == "auto" and (away := missing()):
        bench.say(f"peers: without {' and '.join(away)}; `{HOW_TO_INSTALL}` gets them")
    splits = load_data(asked.config.data, bench.source, lambda *_: None)
    if asked.own.peer_lr_list:  # what chooses must not judge
        judges = gate_images(bench.source, asked.own.judged)
    else:
        judges = unseen(bench.source, splits, asked.own.judged)
    speeds = _speeds(bench) if any(peer.recipe == "script" for peer in asked.peers) else {}
    for name, speed in speeds.items():
        bench.say(f"peers: {name}: {speed.text()} images/s in training")
    results: list[Result] = []
    floors: dict[str, float] = {}
    for name, budget, seed, timed in _trainings(bench, splits):
        judged = _judge(name, timed, judges, bench)
        floors = floors or judged.baselines() | {"images": float(len(judged.counts))}
        results.append(
            Result(
                name=name,
                budget=budget,
                seed=seed,
                seconds=timed.seconds,
                epochs=timed.epochs,
                dice=judged.counts.dice(),
            )
        )
        last = results[-1]
        bench.say(
            f"peers: {name}, {budget} s, seed {seed}: Dice {last.dice.mean():.3f} after "
            f"{timed.epochs:.1f} epochs in {timed.seconds:.1f} s"
        )
        yield findings(results, floors, speeds, bench)


def _judge(name: str, timed: Timed, judges: Sequence[Example], bench: BenchContext) -> Evaluation:
    size = bench.asked.config.data.image_size
    evaluation = score(name, timed.network, size, judges, bench.compute.device)
    gc.collect()  # a network of width 64 with its gradients is large
    return evaluation


def _trainings(bench: BenchContext, splits: Splits) -> Iterator[tuple[str, int, int, Timed]]:
    """Train each side for each time and seed, all sides of a time one after the other.

    Ours comes first with every even seed and last with every odd one, so that a machine that grows
    slower or faster favours neither.
    """
    asked = bench.asked
    for seed in range(asked.own.seeds):
        scripts = {  # whose constant rate lets one training go on from one time to the next
            peer.name: _script(peer, seed, splits, bench)
            for peer in asked.peers
            if peer.recipe == "script"
        }
        sides: list[Peer | None] = [None, *asked.peers] if seed % 2 == 0 else [*asked.peers, None]
        ours, theirs = asked.own.our_second_list, asked.own.second_list
        for budget, side in itertools.product(sorted({*ours, *theirs}), sides):
            if budget not in (ours if side is None else theirs):
                continue
            if side is None:
                mine = train_ours(budget, seed, asked.config, splits, bench.compute)
                yield OURS, budget, seed, mine
            elif side.name in scripts:
                yield side.name, budget, seed, scripts[side.name].run(budget)
            else:
                yield side.name, budget, seed, _train_peer(side, budget, seed, splits, bench)


def _script(peer: Peer, seed: int, splits: Splits, bench: BenchContext) -> ScriptTraining:
    return ScriptTraining(
        build(peer.network, seed),
        splits["train"].examples,
        bench.asked.config.data.image_size,
        peer.lr,
        seed,
        bench.compute.device,
    )


def _train_peer(peer: Peer, budget: int, seed: int, splits: Splits, bench: BenchContext) -> Timed:
    config = bench.asked.config
    training = dataclasses.replace(config.training, seed=seed)
    precise: Any = {"precision": peer.precision}
    compute = choose_compute(dataclasses.replace(training, **precise))
    batches = BatchLoader(splits["train"], splits["val"], training)
    network = build(peer.network, seed)
    # What PyTorch prepares at a first step is no part of a training; ours has its trial for that,
    # and the script the comparison of speeds.
    size = config.data.image_size
    BareStep(copy.deepcopy(network), batches.batch_size, size, compute, fused=True)()
    return train_within(budget, network, peer.lr, training.loss, batches, compute)


def _speeds(bench: BenchContext) -> dict[str, Measurement]:
    """Return images a second in training at width 64, measured in turns.

    As the well-known script trains its network, as we train that network, and as we train a network
    of that width in our own shape; see `peer_findings.SPEEDS`.
    """
    config = bench.asked.config
    everything = load_data(config.data, bench.source, lambda *_: None)
    count = min(_SPEED_IMAGES, len(everything["train"]))
    data = dataclasses.replace(config.data, train_images=count)
    few = Config(data=data, model=config.model, training=config.training)
    splits = load_data(few.data, bench.source, lambda *_: None)
    (peer,) = (peer for peer in PEERS if peer.recipe == "script")
    script = _script(peer, 0, splits, bench)

    def train_script() -> float:
        images, before = script.images, script.seconds
        while script.images - images < count:
            script.step()
        return (script.images - images) / (script.seconds - before)

    def ours(patch: int) -> Side:
        width, epochs = SCRIPT_WIDTH, _SPEED_REPEATS + 2
        one = trainer(few, splits, bench.compute, width=width, patch=patch, epochs=epochs)
        numbers = itertools.count(1)
        size, device = data.image_size, bench.compute.device
        return lambda: count / seconds(lambda: train_epoch(one, next(numbers), size), device)

    sides = (train_script, ours(SCRIPT_PATCH), ours(config.model.patch))
    return interleaved(dict(zip(SPEEDS, sides, strict=True)), _SPEED_REPEATS)
