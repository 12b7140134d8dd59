"""`benchmark`: what it counts and compares, and what its user finds in MLflow."""

import itertools
import signal
from importlib.util import find_spec
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from segmentation.batches import Batches
from segmentation.benchmark.contest import Result, bouts
from segmentation.benchmark.flops import count_flops
from segmentation.benchmark.pairing import Repeated, interleaved
from segmentation.benchmark.peer_networks import build
from segmentation.benchmark.peer_training import rate_and_momentum, train_within
from segmentation.benchmark.programs import entry as entry_command
from segmentation.benchmark.scoring import score, unseen
from segmentation.benchmark.script import ScriptTraining
from segmentation.config import Config
from segmentation.devices import choose_compute
from segmentation.pets import read_list, read_trainval
from segmentation.pipeline import load_data
from segmentation.sources import find_source
from segmentation.unet import UNet
from tests.programs import PROJECT, Program, read_until

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
    one, other = Repeated((4.0, 2.0, 9.0)), Repeated((2.0, 2.0, 3.0))
    assert (one.median, one.low, one.high) == (4.0, 2.0, 9.0)
    assert Repeated((1.0, 4.0, 2.0, 8.0)).median == 3.0
    assert one.over(other).values == (2.0, 1.0, 3.0)
    assert one.over(other).median == 2.0
    # Of the ratios 0.5 and 2; the medians' own would be 5.5 / 3.5.
    assert Repeated((1.0, 10.0)).over(Repeated((2.0, 5.0))).median == 1.25
    assert one.metrics("x") == {"x": 4.0, "x_low": 2.0, "x_high": 9.0}


def test_sides_take_turns_every_second_round_backwards() -> None:
    told: list[str] = []
    clock = itertools.count()

    def side(name: str) -> float:
        told.append(name)
        return float(next(clock))

    found = interleaved({"a": lambda: side("a"), "b": lambda: side("b")}, repeats=2, warm_up=1)
    assert told == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": Repeated((3.0, 4.0)), "b": Repeated((2.0, 5.0))}


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
        images_per_second=1.0,
        epochs=1.0,
        dice=np.array(dice),
    )


def test_ours_is_held_against_each_peer_at_equal_time_and_at_90_s_against_300_s() -> None:
    results = [_result("ours", 90, seed, [0.8, 0.9]) for seed in (0, 1)]
    results += [_result("ours", 300, 0, [0.9, 0.9])]
    results += [_result("script", 90, seed, [0.5, 0.7]) for seed in (0, 1)]
    results += [_result("script", 300, 0, [0.6, 0.6])]
    found = {bout.key: bout.comparison for bout in bouts(results)}
    assert set(found) == {
        "ours_90s-script_90s",
        "ours_300s-script_300s",
        "ours_90s-script_300s",
    }
    assert found["ours_90s-script_90s"].difference == pytest.approx(0.25)
    assert found["ours_90s-script_300s"].difference == pytest.approx(0.25)
    assert found["ours_90s-script_90s"].seeds == 2
    assert found["ours_90s-script_300s"].seeds == 1  # the one that both sides have


def test_the_script_goes_on_where_it_stopped_and_is_judged_on_unseen_images(pets: Path) -> None:
    source = find_source(str(pets))
    config = Config.from_options({"data": str(pets), "train_images": 12, "val_images": 6})
    splits = load_data(config.data, source, lambda *_: None)
    judges = unseen(source, splits, "all")
    used = {example.id for split in splits.values() for example in split.examples}
    everything = read_trainval(source.root) + read_list(source.root, "test")
    assert {example.id for example in judges} == {example.id for example in everything} - used
    assert len(unseen(source, splits, 5)) == 5

    network = UNet(4, 2)
    before = [weight.clone() for weight in network.parameters()]
    training = ScriptTraining(network, splits["train"].examples, 32, 1e-3, 0, torch.device("cpu"))
    first = training.run(0.2)
    second = training.run(0.4)
    assert 0 < first.images < second.images
    assert 0.2 <= first.seconds < second.seconds
    pairs = zip(before, second.network.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)
    # What was handed out is a copy: it is judged while the training goes on.
    kept = [weight.clone() for weight in first.network.parameters()]
    training.step()
    assert all(torch.equal(a, b) for a, b in zip(kept, first.network.parameters(), strict=True))
    evaluation = score("script", second.network, 32, judges[:6], torch.device("cpu"))
    assert [example.id for example in evaluation.examples] == [e.id for e in judges[:6]]


def test_a_time_limited_training_changes_the_weights_and_counts_what_it_saw(discs: Path) -> None:
    config = Config.from_options(
        {"data": str(discs), "train_images": 24, "val_images": 6, "image_size": 32}
    )
    splits = load_data(config.data, find_source(str(discs)), lambda *_: None)
    compute = choose_compute(config.training)
    batches = Batches(splits["train"], splits["val"], config.training)
    network = UNet(4, 3)
    before = [weight.clone() for weight in network.parameters()]
    timed = train_within(0.5, network, 1e-2, "bce", batches, compute)
    assert timed.images > 0
    assert timed.images % config.training.batch_size == 0
    assert timed.epochs == timed.images / 24
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
    assert figures["floor/dice_all_pet"] > 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"suite": "speed"}, "suite=speed: expected all or some of step, loop"),
        ({"suite": "step", "widths": "8,x"}, "widths=8,x: expected whole numbers"),
        ({"suite": "step", "sizes": "8"}, "image_size=8: expected at least 16"),
        ({"suite": "peers", "peers": "unet"}, "peers=unet: expected auto or some of script"),
        ({"suite": "step", "repeats": "1"}, "repeats=1: expected at least 2"),
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


@pytest.mark.slow
def test_the_loops_shares_add_up_and_a_tracked_training_is_nested(
    program: Program, pets: Path
) -> None:
    done = program.entry("benchmark", **SMALL, suite="loop", data=pets, widths=4, repeats=2)
    assert done.returncode == 0, done.stderr
    runs = {run.info.run_name: run for run in mlflow.MlflowClient(program.store).search_runs(["0"])}
    own, nested = runs["benchmark loop"], runs["benchmark: a tracked training"]
    assert nested.data.tags["mlflow.parentRunId"] == own.info.run_id
    assert "val/dice" in nested.data.metrics
    figures = own.data.metrics
    assert 0 < figures["share_tracking"] < 1
    shares = [figures[name] for name in figures if name.startswith("share_") and "/" in name]
    assert len(shares) == 6
    assert sum(shares) == pytest.approx(1)


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
        assert run.data.metrics[f"images_per_second/{name}_1s_seed0"] > 0


@pytest.mark.slow
def test_scale_reads_thousands_of_pictures_in_processes_of_their_own(program: Program) -> None:
    done = program.entry("benchmark", suite="scale", images="10,20")
    assert done.returncode == 0, done.stderr
    (run,) = mlflow.MlflowClient(program.store).search_runs(["0"])
    for count in (10, 20):
        assert run.data.metrics[f"epoch_seconds/images_{count}"] > 0
        assert run.data.metrics[f"peak_mib/images_{count}"] > 100
