"""Seconds to `--help`, from `mlflow run` to the first training step, from the last to the prompt.

    python -m docs.benchmarks.start [ROUNDS]

from the repository's root; the measurements take turns.
"""

import sys

from docs.benchmarks.common import launched, new_program, newest_run, run_command, text
from tests.helpers.programs import TINY, entry_command


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds: dict[str, list[float]] = {}
    with new_program() as program:
        for _ in range(rounds + 1):
            for name, command in (
                ("Python alone", [sys.executable, "-c", "pass"]),
                ("--help", [*entry_command("train"), "--help"]),
            ):
                began, ended = run_command(program, command)
                seconds.setdefault(name, []).append(ended - began)
            began, ended = run_command(program, launched("train", data="synthetic", **TINY))
            tags = newest_run(program).data.tags
            first, last = (
                float(tags[f"mlflow.petseg.time.{step}_step"]) for step in ("first", "last")
            )
            seconds.setdefault("mlflow run to the first step", []).append(first - began)
            seconds.setdefault("the last step to the prompt", []).append(ended - last)
    for name, values in seconds.items():  # the first training draws the sample and makes the store
        print(f"{name}: {text(values[1:])} s")


if __name__ == "__main__":
    main()
