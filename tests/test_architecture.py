"""The house's rules, read from the code itself."""

import ast
from pathlib import Path

import click
import pytest
import yaml

from experiments import (
    benchmark,
    evaluate,
    predict,
    prepare,
    promote,
    recover,
    shrink,
    train,
    tune,
)
from tests.programs import PROJECT

RANKS = {
    "segmentation": -1,
    "segmentation.errors": 0,
    "segmentation.environment": 1,
    "segmentation.parallel": 0,
    "segmentation.reading": 0,
    "segmentation.jpeg": 0,
    "segmentation.png": 0,
    "segmentation.images": 1,
    "segmentation.staging": 0,
    "segmentation.drawing": 0,
    "segmentation.paths": 1,
    "segmentation.interruption": 0,
    "segmentation.checkpoint": 1,
    "segmentation.shares": 0,
    "segmentation.normalisation": 0,
    "segmentation.ending": 0,
    "segmentation.group": 2,
    "segmentation.launching": 2,
    "segmentation.tally": 3,
    "segmentation.keeping": 3,
    "segmentation.tensors": 1,
    "segmentation.randomness": 2,
    "segmentation.averaging": 0,
    "segmentation.criterion": 3,
    "segmentation.config": 1,
    "segmentation.comparison": 1,
    "segmentation.workers": 2,
    "segmentation.holdings": 1,
    "segmentation.shrink_config": 2,
    "segmentation.leavings": 3,
    "segmentation.search_config": 2,
    "segmentation.space": 2,
    "segmentation.pets": 2,
    "segmentation.unet": 2,
    "segmentation.metrics": 2,
    "segmentation.transforms": 2,
    "segmentation.augment": 4,
    "segmentation.devices": 2,
    "segmentation.synthetic": 2,
    "segmentation.download": 3,
    "segmentation.pixels": 3,
    "segmentation.splits": 3,
    "segmentation.sources": 3,
    "segmentation.reports": 3,
    "segmentation.pixel_use": 0,
    "segmentation.pixel_file": 1,
    "segmentation.pixel_store": 2,
    "segmentation.decoded": 4,
    "segmentation.decoding": 5,
    "segmentation.verification": 4,
    "segmentation.inference": 3,
    "segmentation.boundaries": 0,
    "segmentation.markdown": 0,
    "segmentation.calibration": 3,
    "segmentation.evaluation": 4,
    "segmentation.decision": 5,
    "segmentation.examination": 5,
    "segmentation.albums": 2,
    "segmentation.examination_words": 6,
    "segmentation.examination_page": 6,
    "segmentation.examination_figures": 7,
    "segmentation.examination_markdown": 7,
    "segmentation.examination_report": 8,
    "segmentation.export": 4,
    "segmentation.figures": 4,
    "segmentation.schedule": 0,
    "segmentation.durations": 0,
    "segmentation.budget": 1,
    "segmentation.batches": 5,
    "segmentation.trainer": 6,
    "segmentation.training": 7,
    "segmentation.rehearsal": 7,
    "segmentation.tracking": 7,
    "segmentation.tracking.store": 8,
    "segmentation.tracking.descriptions": 8,
    "segmentation.tracking.experiments": 8,
    "segmentation.tracking.heartbeat": 8,
    "segmentation.tracking.watch": 8,
    "segmentation.tracking.outbox": 8,
    "segmentation.tracking.courier": 9,
    "segmentation.tracking.delivery": 10,
    "segmentation.tracking.post": 11,
    "segmentation.tracking.watching": 12,
    "segmentation.tracking.runs": 12,
    "segmentation.tracking.galleries": 12,
    "segmentation.tracking.evaluations": 15,
    "segmentation.tracking.benchmarks": 14,
    "segmentation.tracking.predictions": 17,
    "segmentation.tracking.photos": 8,
    "segmentation.tracking.packing": 9,
    "segmentation.tracking.loading": 10,
    "segmentation.tracking.models": 14,
    "segmentation.tracking.launcher": 10,
    "segmentation.tracking.lookup": 8,
    "segmentation.tracking.repeat": 13,
    "segmentation.tracking.differences": 14,
    "segmentation.tracking.reports": 13,
    "segmentation.tracking.studies": 13,
    "segmentation.tracking.trainings": 15,
    "segmentation.tracking.resuming": 16,
    "segmentation.checkpointing": 16,
    "segmentation.tracking.ghosts": 12,
    "segmentation.tracking.leftovers": 16,
    "segmentation.recovery": 19,
    "segmentation.tracking.keeping": 9,
    "segmentation.tracking.run_holdings": 16,
    "segmentation.tracking.model_holdings": 17,
    "segmentation.tracking.shrinks": 13,
    "segmentation.shrinking": 18,
    "segmentation.tuning": 3,
    "segmentation.tuning.pruning": 3,
    "segmentation.tuning.plots": 3,
    "segmentation.tuning.storage": 3,
    "segmentation.tuning.study": 4,
    "segmentation.study_report": 5,
    "segmentation.promotion": 16,
    "segmentation.appraisal": 16,
    "segmentation.prediction": 16,
    "segmentation.pipeline": 18,
    "segmentation.search_job": 18,
    "segmentation.trials": 19,
    "segmentation.study_lines": 5,
    "segmentation.search_plan": 20,
    "segmentation.search_end": 21,
    "segmentation.search": 22,
    "segmentation.benchmark": 1,
    "segmentation.benchmark.peer_table": 1,
    "segmentation.benchmark.asked": 2,
    "segmentation.benchmark.pairing": 3,
    "segmentation.benchmark.machine": 2,
    "segmentation.benchmark.programs": 2,
    "segmentation.benchmark.flops": 2,
    "segmentation.benchmark.charts": 4,
    "segmentation.benchmark.peer_networks": 3,
    "segmentation.benchmark.bare": 3,
    "segmentation.benchmark.contest": 3,
    "segmentation.benchmark.many": 4,
    "segmentation.benchmark.findings": 19,
    "segmentation.benchmark.ours": 19,
    "segmentation.benchmark.scoring": 19,
    "segmentation.benchmark.script": 20,
    "segmentation.benchmark.peer_training": 20,
    "segmentation.benchmark.scale_job": 20,
    "segmentation.benchmark.step": 20,
    "segmentation.benchmark.loop_findings": 20,
    "segmentation.benchmark.loop": 21,
    "segmentation.benchmark.scale": 20,
    "segmentation.benchmark.scale_out": 20,
    "segmentation.benchmark.scale_out_job": 20,
    "segmentation.benchmark.tuning": 20,
    "segmentation.benchmark.start": 20,
    "segmentation.benchmark.peer_findings": 20,
    "segmentation.benchmark.peers": 21,
    "segmentation.benchmark.suites": 22,
    "experiments": 25,
    "experiments.options": 25,
    "experiments.console": 25,
    "experiments.train": 26,
    "experiments.tune": 26,
    "experiments.prepare": 26,
    "experiments.evaluate": 26,
    "experiments.promote": 26,
    "experiments.predict": 26,
    "experiments.benchmark": 26,
    "experiments.recover": 26,
    "experiments.shrink": 26,
}


def modules() -> dict[str, ast.Module]:
    files = [*(PROJECT / "segmentation").rglob("*.py"), *(PROJECT / "experiments").rglob("*.py")]
    names = {path: path.relative_to(PROJECT).with_suffix("") for path in files}
    return {
        ".".join(name.parts).removesuffix(".__init__"): ast.parse(path.read_text())
        for path, name in names.items()
    }


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_has_a_rank_and_imports_only_lower_ones() -> None:
    trees = modules()
    assert set(trees) == set(RANKS)
    upward = [
        f"{name} imports {imported}"
        for name, tree in trees.items()
        for imported in imports(tree) & set(RANKS)
        if RANKS[imported] >= RANKS[name]
    ]
    assert upward == []


@pytest.mark.parametrize(
    ("room", "library"), [("segmentation.tracking", "mlflow"), ("segmentation.tuning", "optuna")]
)
def test_one_room_alone_knows_a_library(room: str, library: str) -> None:
    knowing = {
        name
        for name, tree in modules().items()
        if any(one.partition(".")[0] == library for one in imports(tree))
    }
    assert {name.rpartition(".")[0] for name in knowing} == {room}


@pytest.mark.parametrize(
    ("entry", "command"),
    [
        ("main", train.main),
        ("train", train.main),
        ("tune", tune.main),
        ("evaluate", evaluate.main),
        ("promote", promote.main),
        ("predict", predict.main),
        ("prepare", prepare.main),
        ("benchmark", benchmark.main),
        ("recover", recover.main),
        ("shrink", shrink.main),
    ],
)
def test_mlproject_and_the_command_line_have_the_same_parameters_and_defaults(
    entry: str, command: click.Command
) -> None:
    project = yaml.safe_load(Path(PROJECT / "MLproject").read_text())["entry_points"][entry]
    options = {param.name: param for param in command.params}
    assert set(project["parameters"]) == set(options)
    for name, declared in project["parameters"].items():
        option = options[name]
        assert f"{option.opts[0]} {{{name}}}" in project["command"], name
        assert option.required == ("default" not in declared), name
        if option.required:
            continue
        context = click.Context(command)
        default = option.type_cast_value(context, str(declared["default"]))
        assert default == option.default, name
