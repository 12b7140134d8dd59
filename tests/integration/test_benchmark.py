"""`benchmark`: what it counts and compares, and what its user finds in MLflow."""

import itertools
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from segmentation.benchmark import pairing, peer_training, script, tuning
from segmentation.benchmark.asked import BenchmarkConfig, BenchmarkRequest
from segmentation.benchmark.contest import Result, bouts
from segmentation.benchmark.findings import BenchContext
from segmentation.benchmark.flops import count_flops
from segmentation.benchmark.loop import PlainBatches
from segmentation.benchmark.pairing import Measurement, interleaved, weighted
from segmentation.benchmark.peer_networks import build
from segmentation.benchmark.peer_training import rate_and_momentum, train_within
from segmentation.benchmark.programs import place
from segmentation.benchmark.scoring import gate_images, score, unseen
from segmentation.benchmark.script import ScriptTraining
from segmentation.config.training import Config
from segmentation.data.loader import BatchLoader
from segmentation.data.oxford_pets import read_list, read_trainval
from segmentation.data.sources import resolve_source
from segmentation.data.splits import in_gate
from segmentation.models.unet import UNet
from segmentation.runtime.device import choose_compute
from segmentation.tracking.runs.lifecycle import Run
from segmentation.workflows.session import load_data
from tests.helpers.programs import PROJECT, Program, entry_command, read_until, wait_until_gone

SMALL = {"train_images": "12", "val_images": "6", "image_size": "32"}


class _OneConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.convolution(image.float())
        return answer


def test_flops_of_a_convolution_counted_by_hand() -> None:
    flops = count_flops(_OneConvolution(), 16)
    # 16 x 16 pixels, 8 channels out of 3 by a 3 x 3 kernel, a multiplication and an addition each.
    assert flops.forward == 16 * 16 * 8 * 3 * 9 * 2
    # The gradient of the weights costs as much; that of the image is not asked for.
    assert flops.training == 2 * flops.forward


def test_median_spread_and_paired_ratio_by_hand() -> None:
    one, other = Measurement((4.0, 2.0, 9.0)), Measurement((2.0, 2.0, 3.0))
    assert (one.median, one.low, one.high) == (4.0, 2.0, 9.0)
    assert Measurement((1.0, 4.0, 2.0, 8.0)).median == 3.0
    assert one.over(other).values == (2.0, 1.0, 3.0)
    assert one.over(other).median == 2.0
    # Of the ratios 0.5 and 2; the medians' own would be 5.5 / 3.5.
    assert Measurement((1.0, 10.0)).over(Measurement((2.0, 5.0))).median == 1.25
    assert weighted([one, other], [1.0, -2.0]).values == (0.0, -2.0, 3.0)
    assert one.metrics("x") == {"x": 4.0, "x_low": 2.0, "x_high": 9.0}


def test_sides_take_turns_every_second_round_backwards() -> None:
    told: list[str] = []
    clock = itertools.count()

    def side(name: str) -> float:
        told.append(name)
        return float(next(clock))

    found = interleaved({"a": lambda: side("a"), "b": lambda: side("b")}, repeats=2, warm_up=1)
    assert told == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": Measurement((3.0, 4.0)), "b": Measurement((2.0, 5.0))}


def test_the_schedule_by_time_is_pytorchs_one_cycle() -> None:
    steps = 1001
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = OneCycleLR(optimizer, max_lr=2.0, total_steps=steps)
    for step in range(steps):
        group = optimizer.param_groups[0]
        rate, beta = rate_and_momentum(step / (steps - 1))
        # PyTorch's rise ends a step earlier.
        assert 2.0 * rate == pytest.approx(group["lr"], abs=0.01)
        assert beta == pytest.approx(group["betas"][0], abs=0.001)
        optimizer.step()
        if step < steps - 1:
            schedule.step()
    assert rate_and_momentum(0.0) == pytest.approx((1 / 25, 0.95))
    assert rate_and_momentum(0.3) == pytest.approx((1.0, 0.85))
    assert rate_and_momentum(1.0) == pytest.approx((1 / 250_000, 0.95))


def _result(name: str, budget: int, seed: int, dice: list[float]) -> Result:
    return Result(
        name=name,
        budget=budget,
        seed=seed,
        seconds=float(budget),
        epochs=1.0,
        dice=np.array(dice),
    )


def test_ours_is_held_against_each_peer_at_equal_time_and_at_90_s_against_all_times() -> None:
    results = [_result("ours", 90, seed, [0.8, 0.9]) for seed in (0, 1)]
    results += [_result("ours", 300, 0, [0.9, 0.9])]
    results += [_result("script", 90, seed, [0.5, 0.7]) for seed in (0, 1)]
    results += [_result("script", 300, 0, [0.6, 0.6]), _result("script", 30, 0, [0.1, 0.1])]
    found = {bout.key: bout.comparison for bout in bouts(results)}
    assert set(found) == {
        "ours_90s-script_90s",
        "ours_300s-script_300s",
        "ours_90s-script_30s",
        "ours_90s-script_300s",
    }
    assert found["ours_90s-script_90s"].difference == pytest.approx(0.25)
    assert found["ours_90s-script_300s"].difference == pytest.approx(0.25)
    assert found["ours_90s-script_30s"].difference == pytest.approx(0.75)
    assert found["ours_90s-script_90s"].seeds == 2
    assert found["ours_90s-script_300s"].seeds == 1  # the one that both sides have


class _Clock:
    """Time that goes on by a fixed step whenever somebody looks, however slow the machine is."""

    def __init__(self, tick: float) -> None:
        self._times = (tick * number for number in itertools.count())

    def perf_counter(self) -> float:
        return next(self._times)


def test_the_script_goes_on_where_it_stopped_and_is_judged_on_unseen_images(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = resolve_source(str(pets))
    config = Config.from_options({"data": str(pets), "train_images": 12, "val_images": 6})
    splits = load_data(config.data, source, lambda *_: None)
    judges = unseen(source, splits, "all")
    used = {example.id for split in splits.values() for example in split.examples}
    trainval = read_trainval(source.root)
    gate = {example.id for example in trainval if in_gate(example)}
    everything = {example.id for example in trainval + read_list(source.root, "test")}
    assert gate
    assert {example.id for example in judges} == everything - used - gate
    assert len(unseen(source, splits, 5)) == 5
    assert {example.id for example in gate_images(source, "all")} == gate

    network = UNet(4, 2)
    before = [weight.clone() for weight in network.parameters()]
    training = ScriptTraining(network, splits["train"].examples, 32, 1e-3, 0, torch.device("cpu"))
    monkeypatch.setattr(script, "time", _Clock(0.125))  # a step takes as long
    first = training.run(0.25)
    second = training.run(0.5)
    assert (first.seconds, first.images) == (0.25, 24)  # of 12 images each
    assert (second.seconds, second.images, second.epochs) == (0.5, 48, 4)
    pairs = zip(before, second.network.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)
    # What was handed out is a copy: it is judged while the training goes on.
    kept = [weight.clone() for weight in first.network.parameters()]
    training.step()
    assert all(torch.equal(a, b) for a, b in zip(kept, first.network.parameters(), strict=True))
    evaluation = score("script", second.network, 32, judges[:6], torch.device("cpu"))
    assert [example.id for example in evaluation.examples] == [e.id for e in judges[:6]]


def test_a_time_limited_training_counts_what_it_saw_and_keeps_its_best_weights(
    discs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config.from_options(
        {
            "data": str(discs),
            "train_images": 24,
            "val_images": 6,
            "image_size": 32,
            "device": "cpu",
        }
    )
    splits = load_data(config.data, resolve_source(str(discs)), lambda *_: None)
    compute = choose_compute(config.training)
    batches = BatchLoader(splits["train"], splits["val"], config.training)
    network = UNet(4, 3)
    before = [weight.clone() for weight in network.parameters()]
    clock = _Clock(0.0625)
    for module in (peer_training, pairing):
        monkeypatch.setattr(module, "time", clock)
    timed = train_within(1.0, network, 1e-2, "bce", batches, compute)
    # 16 looks at the clock: one a step, and one of the two around a validation, whose time between
    # them is not counted; the 17th ends it.
    assert timed.seconds == 17 * 0.0625
    assert timed.images == 8 * 12
    assert timed.epochs == 4
    after = list(timed.network.parameters())
    assert all(bool(weight.isfinite().all()) for weight in after)
    assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    "network",
    ["script", *(pytest.param(name, marks=pytest.mark.slow) for name in ("smp", "monai"))],
)
def test_peers_take_what_ours_takes(network: str) -> None:
    package = {"smp": "segmentation_models_pytorch"}.get(network, network)
    if network != "script" and find_spec(package) is None:
        pytest.skip(f"{package} is not installed: pip install .[benchmark]")
    image = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    one, again = (build(network, seed=3).eval() for _ in range(2))
    with torch.inference_mode():
        answer = one(image)
        assert answer.shape == (2, 1, 64, 64)
        assert torch.equal(answer, again(image))


def test_a_suite_by_mlflow_run_leaves_its_figures_and_its_chart(
    program: Program, pets: Path
) -> None:
    parameters = {**SMALL, "suite": "step", "widths": "4", "sizes": "32", "repeats": "2"}
    command = ["mlflow", "run", str(PROJECT), "-e", "benchmark", "--env-manager", "local"]
    given = [f"-P{name}={value}" for name, value in {**parameters, "data": pets}.items()]
    done = program.run(*command, *given)
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    assert f"/runs/{run.info.run_id}" in done.stdout
    figures = run.data.metrics
    for kind in ("training", "inference"):
        name = f"{kind}_images_per_second/fp32_width_4_size_32"
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
        assert figures[f"{kind}_share_of_matrix_product/fp32_width_4_size_32"] > 0
    assert {"processor", "threads", "precision", "torch"} <= set(run.data.tags)
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"step.png", "step.csv"} <= names
    assert "multiplies matrices" in run.data.tags["mlflow.note.content"]
    assert run.data.params["benchmark.sizes"] == "32"


def test_several_suites_are_nested_in_one_run(program: Program, pets: Path) -> None:
    done = program.entry(
        "benchmark",
        **SMALL,
        suite="step,peers",
        data=pets,
        widths=4,
        sizes=32,
        repeats=2,
        peers="script",
        seconds=1,
        judged=6,
    )
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(program.store)
    runs = {run.info.run_name: run for run in client.search_runs(["0"])}
    parent = runs["benchmark"].info.run_id
    for suite in ("step", "peers"):
        assert runs[f"benchmark {suite}"].data.tags["mlflow.parentRunId"] == parent
        names = {f.path for f in client.list_artifacts(runs[f"benchmark {suite}"].info.run_id)}
        assert f"{suite}.png" in names
    figures = runs["benchmark peers"].data.metrics
    difference = figures["dice/ours_1s"] - figures["dice/script_1s"]
    assert figures["difference/ours_1s-script_1s"] == pytest.approx(difference)
    assert figures["images"] == 6
    for side in ("script", "ours_same_network", "ours_default_patch"):
        assert figures[f"width_64_images_per_second/{side}"] > 0
    assert figures["training_seconds/ours_1s_seed0"] > 0
    assert figures["floor/dice_all_pet"] > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"suite": "speed"}, "suite=speed: expected all or some of step, loop"),
        ({"suite": "step", "widths": "8,x"}, "widths=8,x: expected whole numbers"),
        ({"suite": "step", "sizes": "8"}, "image_size=8: expected a whole number, at least 16"),
        ({"suite": "peers", "peers": "unet"}, "peers=unet: expected auto or some of script"),
        ({"suite": "peers", "peer_lrs": "1e-3,fast"}, "peer_lrs=1e-3,fast: expected auto, or num"),
        ({"suite": "peers", "our_seconds": "1h"}, "our_seconds=1h: expected"),
        ({"suite": "peers", "peer_lrs": "0"}, "peer_lrs=0: expected auto, or numbers above 0"),
        ({"suite": "step", "repeats": "1"}, "repeats=1: expected a whole number, at least 2"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(
    program: Program, options: dict[str, str], text: str
) -> None:
    done = program.entry("benchmark", **options)
    assert done.returncode == 2, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(program.folder, "mlflow.db").exists()


def test_what_was_measured_before_ctrl_c_is_kept(program: Program, pets: Path) -> None:
    options = {**SMALL, "suite": "step", "widths": "4", "sizes": "32,48,64,96", "data": str(pets)}
    process = program.start(*entry_command("benchmark", **options))
    read_until(process, "step: inference, width 4, 48 px")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    client = mlflow.MlflowClient(program.store)
    (run,) = client.search_runs(["0"])
    assert run.info.status == "KILLED"
    assert run.data.metrics["training_images_per_second/fp32_width_4_size_32"] > 0
    assert "step.png" in {file.path for file in client.list_artifacts(run.info.run_id)}


def test_peers_can_be_tried_at_other_learning_rates() -> None:
    own = BenchmarkConfig(suite="peers", peers="script,script_bf16", peer_lrs="2e-3,5e-4")
    asked = BenchmarkRequest.of(own, {})
    assert {peer.name: peer.lr for peer in asked.peers} == {
        "script_lr0.0005": 5e-4,
        "script_lr0.002": 2e-3,
        "script_bf16_lr0.0005": 5e-4,
        "script_bf16_lr0.002": 2e-3,
    }
    assert [peer.recipe for peer in asked.peers] == ["script", "script", "ours", "ours"]


def test_plain_batches_are_the_images_as_they_are_stored(pets: Path) -> None:
    options = {"data": str(pets), "train_images": 12, "val_images": 6, "device": "cpu"}
    config = Config.from_options(options)
    splits = load_data(config.data, resolve_source(str(pets)), lambda *_: None)
    batches = PlainBatches(splits, config.training, choose_compute(config.training))
    stored = sorted(
        image.tobytes() for image, _ in map(splits["train"].pixels.__getitem__, range(12))
    )
    for epoch in (1, 2):
        images = [image for batch in batches.epoch(epoch, 64) for image in batch.image]
        assert sorted(image.permute(1, 2, 0).numpy().tobytes() for image in images) == stored


def test_a_program_that_is_interrupted_ends_with_all_that_it_has_started() -> None:
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)  # stands for Ctrl-C
    try:
        with place() as here:
            child = here.folder / "child"
            # A moment later: while a program is being started there is nothing to end yet.
            interrupt = f"sleep 0.5; kill -USR1 {os.getpid()}"
            command = f"sleep 600 & echo $! >'{child}'; {interrupt}; wait"
            with pytest.raises(KeyboardInterrupt):
                here.run(["bash", "-c", command])
            number = int(child.read_text())
    finally:
        signal.signal(signal.SIGUSR1, before)
    if psutil.pid_exists(number):
        wait_until_gone([psutil.Process(number)])


def test_ctrl_c_while_pets_are_drawn_prints_no_traceback(program: Program) -> None:
    code = (
        "import sys; from segmentation.benchmark.many import many_pets\n"
        "try: many_pets(2000, lambda done, _: print('drawn', done, flush=True))\n"
        "except KeyboardInterrupt: sys.exit(1)"
    )
    process = program.start(sys.executable, "-c", code)
    # As a terminal does it, everybody is told: those who draw while they still start, then all.
    parent = psutil.Process(process.pid)
    while not (drawing := [one for one in parent.children() if "spawn_main" in str(one.cmdline())]):
        assert process.poll() is None
    for one in drawing:
        one.send_signal(signal.SIGINT)
    read_until(process, "drawn")
    for one in [*parent.children(), parent]:
        one.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    assert not [one for one in program.cache.glob("benchmark-*") if one.is_dir()]


@pytest.mark.slow
def test_start_waits_for_help_first_step_and_prompt(program: Program) -> None:
    done = program.entry("benchmark", suite="start", repeats=2, device="cpu")
    assert done.returncode == 0, done.stderr
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    figures = run.data.metrics
    assert 0 < figures["python_seconds"] < figures["first_step_seconds"]
    assert figures["help_seconds"] > 0
    assert figures["prompt_seconds"] > 0


@pytest.mark.slow
def test_tuning_counts_the_trials_of_real_searches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PETSEG_CACHE", str(tmp_path))
    tiny = {"trials": 2, "trial_epochs": 1, "train_images": 12, "val_images": 6, "image_size": 32}
    monkeypatch.setattr(tuning, "SEARCH", {**tuning.SEARCH, **tiny, "width": 4})
    monkeypatch.setattr(tuning, "ORDER", (1, 2))
    asked = BenchmarkRequest.of(BenchmarkConfig(suite="tuning"), {"device": "cpu"})
    said: list[str] = []
    bench = BenchContext(
        asked=asked,
        compute=choose_compute(asked.config.training),
        source=resolve_source("synthetic"),
        run=Run(id="", experiment=""),
        say=said.append,
    )
    *_, last = tuning.measure(bench)
    assert len(said) == 2
    for workers in (1, 2):
        assert last.metrics[f"trials_per_hour/workers_{workers}"] > 0
    assert last.metrics["trials_per_hour_ratio/workers_2-workers_1"] > 0


@pytest.mark.slow
def test_the_loops_shares_add_up_and_a_tracked_training_is_nested(
    program: Program, pets: Path
) -> None:
    small = {**SMALL, "image_size": "64"}  # at which images still grow
    done = program.entry("benchmark", **small, suite="loop", data=pets, widths=4, repeats=2)
    assert done.returncode == 0, done.stderr
    runs = {run.info.run_name: run for run in mlflow.MlflowClient(program.store).search_runs(["0"])}
    own, nested = runs["benchmark loop"], runs["benchmark: a tracked training"]
    assert nested.data.tags["mlflow.parentRunId"] == own.info.run_id
    assert "val/dice" in nested.data.metrics
    figures = own.data.metrics
    assert 0 < figures["tracked_loop_share_of_tracking"] < 1
    shares = {name: figures[name] for name in figures if name.startswith("share_")}
    loop = {"bare_step", "rest_of_the_loop", "data", "augmentation"}
    parts = loop | {"validation", "tracking", "checkpoints"}
    assert set(shares) == {f"share_{part}/width_4" for part in parts}
    assert sum(shares.values()) == pytest.approx(1)
    assert 1 <= figures["tracked_epochs_that_were_best"] <= figures["tracked_epochs"] == 200
    for where in ("whole_training", "side_32", "side_48", "side_64"):
        for ratio in ("loop_over_bare_step", "loop_over_bare_step_default_adamw"):
            assert figures[f"{ratio}/width_4_{where}"] > 0


@pytest.mark.slow
def test_smp_and_monai_train_beside_ours(program: Program, pets: Path) -> None:
    for package in ("segmentation_models_pytorch", "monai"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install .[benchmark]")
    done = program.entry("benchmark", **SMALL, suite="peers", data=pets, seconds=1, judged=6)
    assert done.returncode == 0, done.stderr
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    for name in ("ours", "script", "script_bf16", "smp_fp32", "smp_bf16", "monai_fp32"):
        assert 0 <= run.data.metrics[f"dice/{name}_1s"] <= 1
        assert run.data.metrics[f"training_seconds/{name}_1s_seed0"] >= 0.9


@pytest.mark.slow
def test_scale_reads_thousands_of_pictures_in_processes_of_their_own(program: Program) -> None:
    done = program.entry("benchmark", suite="scale", images="10,20")
    assert done.returncode == 0, done.stderr
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    for count in (10, 20):
        assert run.data.metrics[f"epoch_seconds/images_{count}"] > 0
        assert run.data.metrics[f"peak_mib/images_{count}"] > 100
