"""How long one waits for a program: for its help, for the first step, for the prompt."""

import sys
from collections.abc import Iterator

from segmentation.benchmark.charts import bars
from segmentation.benchmark.findings import BenchContext, SuiteResult
from segmentation.benchmark.pairing import Measurement, interleaved
from segmentation.benchmark.programs import Place, ProgramError, entry, launched, place
from segmentation.tracking.summaries.benchmarks import step_times

#: A training that takes seconds.
_TINY = {
    "data": "synthetic",
    "train_images": 16,
    "val_images": 8,
    "image_size": 64,
    "width": 4,
    "depth": 3,
    "epochs": 2,
}
_NAMES = {
    "python": "Python alone",
    "help": "--help",
    "first_step": "`mlflow run` to first step",
    "prompt": "last step to prompt",
}


def measure(bench: BenchContext) -> Iterator[SuiteResult]:
    """Measure all of it in turns, in a store of its own; see `Suite`."""
    device = bench.compute.device.type
    with place() as here:
        prompts: list[float] = []

        def first_step() -> float:
            first, last = _train(here, device)
            prompts.append(last)
            return first

        found = interleaved(
            {
                "python": lambda: here.run([sys.executable, "-c", "pass"]).seconds,
                "help": lambda: here.run([*entry("train"), "--help"]).seconds,
                "first_step": first_step,
            },
            bench.asked.own.repeats,
        )
        # The first training also makes the store's tables and reads files that lie in memory later.
        found["prompt"] = Measurement(tuple(prompts[1:]))
    for name, repeated in found.items():
        bench.say(f"start: {_NAMES[name]}: {repeated.text(2)} s")
    metrics: dict[str, float] = {}
    for name, repeated in found.items():
        metrics |= repeated.metrics(f"{name}_seconds")
    yield SuiteResult(
        metrics=metrics,
        columns=("what", "seconds"),
        rows=tuple((_NAMES[name], repeated.text(2)) for name, repeated in found.items()),
        chart=lambda: bars(
            "How long one waits",
            "seconds",
            {_NAMES[name]: repeated for name, repeated in found.items()},
        ),
        lines=(
            f"`--help` takes {found['help'].median:.2f} s, of which Python itself "
            f"{found['python'].median:.2f} s",
            f"From `mlflow run . -e train` to the first training step "
            f"{found['first_step'].median:.1f} s, from the last step to the prompt "
            f"{found['prompt'].median:.1f} s",
        ),
        precision=bench.compute.precision,
    )


def _train(here: Place, device: str) -> tuple[float, float]:
    """Train once; return seconds to the first step, and from the last one to the end."""
    done = here.run(launched("train", **_TINY, device=device))
    steps = step_times(here.store)
    if steps is None:
        raise ProgramError("the training left no tags time.first_step and time.last_step")
    return steps[0] - done.began, done.ended - steps[1]
