"""A whole benchmark: its suites one after the other, each as a run."""

import dataclasses
import logging
import platform
import re
from pathlib import Path

import torch

from segmentation.config.benchmark import BenchmarkConfig
from segmentation.config.training import Config
from segmentation.data.sources import resolve_source
from segmentation.runtime.device import choose_compute
from segmentation.tracking.commands import view_run
from segmentation.tracking.project_run import open_store
from segmentation.tracking.runs.run import tracked_run
from segmentation.tracking.summaries.benchmarks import SuiteSummary, findings
from segmentation.workflows.benchmark.loop import measure_loop
from segmentation.workflows.benchmark.step import measure_step

_log = logging.getLogger(__name__)

_CPUINFO = Path("/proc/cpuinfo")
_SUITES = {"step": measure_step, "loop": measure_loop}


def _machine(device: torch.device) -> dict[str, str]:
    """Return tags that say what computes."""
    told = _CPUINFO.read_text(errors="replace") if _CPUINFO.exists() else ""
    names = re.findall(r"^model name\s*: (.+)$", told, re.M) or [platform.processor()]
    on_gpu = device.type == "cuda"
    return {
        "processor": torch.cuda.get_device_name(device) if on_gpu else names[0],
        "threads": str(torch.get_num_threads()),
        "torch": str(torch.__version__),
        "device": device.type,
    }


def run(own: BenchmarkConfig, config: Config) -> None:
    """Run the suites that were asked for; what each has measured is in its run at once.

    The training's settings are at their defaults but for data and device.
    """
    compute = choose_compute(config.training)
    open_store()
    source = resolve_source(config.data)
    _log.info(source.summary)
    tags = _machine(compute.device)
    processor, threads, torch_version, device = tags.values()
    _log.info(
        f"Machine: {processor}, {device}, {threads} threads, PyTorch {torch_version}, {compute.amp}"
    )
    tags |= {"precision": compute.precision, "data.source": source.name}
    lines: list[str] = []
    with tracked_run("benchmark", tags) as parent:
        parent.log_params(config.options() | dataclasses.asdict(own))
        for suite in own.suites:
            with tracked_run(f"benchmark {suite}", tags, parent) as nested:
                summary = SuiteSummary(nested, suite)
                _SUITES[suite](own, config, compute, source, summary)
            lines += [f"{suite}: {line}" for line in summary.lines]
            parent.describe(findings(lines))
    for line in lines:
        _log.info("Found: %s", line)
    _log.info("Look:  %s", view_run(parent.id))
