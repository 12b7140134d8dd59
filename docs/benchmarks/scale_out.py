"""One training by several processes against one process with all threads: speed, and what it finds.

    python -m docs.benchmarks.scale_out DATA [--widths 8,16,32] [--processes 2] [--rounds 3]

from the repository's root. DATA is a folder in the data set's layout, or `synthetic`.
"""

import click

from docs.benchmarks.common import images_per_second, new_program, newest_run, run, text


@click.command(context_settings={"show_default": True})
@click.argument("data")
@click.option("--widths", default="8,16,32")
@click.option("--processes", default=2)
@click.option("--rounds", default=3)
@click.option("--epochs", default=20)
def main(data: str, widths: str, processes: int, rounds: int, epochs: int) -> None:
    """Train each width both ways, in turns."""
    with new_program() as program:
        for width in widths.split(","):
            speeds: dict[int, list[float]] = {1: [], processes: []}
            dice: dict[int, float] = {}
            for _ in range(rounds):
                for count in speeds:
                    options = {"width": width, "epochs": epochs, "resizing": "fixed"}
                    run(program, "train", data=data, processes=count, **options)
                    speeds[count].append(images_per_second(program))
                    dice[count] = newest_run(program).data.metrics["best/dice"]
            pairs = zip(speeds[processes], speeds[1], strict=True)
            print(
                f"width {width}: {processes} processes train at {text([a / b for a, b in pairs])} "
                f"times the {text(speeds[1], 1)} images/s of one; best Dice {dice[processes]:.4f} "
                f"and {dice[1]:.4f}"
            )


if __name__ == "__main__":
    main()
