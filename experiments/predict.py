"""Write a mask for each of a person's photos."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options, pickle_option
from segmentation.config.training import Config
from segmentation.errors import ConfigError


@click.command(context_settings={"show_default": True})
@click.option(
    "--images",
    required=True,
    help="A photo, or a folder: all JPEG, PNG, GIF and WebP files in it and its folders.",
)
@click.option(
    "--output",
    required=True,
    help="Folder for masks/, predictions.csv and what else is asked for; made if it is new.",
)
@click.option(
    "--model",
    default="",
    help="The model's address, such as models:/pet-unet@champion or a folder; empty: "
    "models:/pet-unet@champion, or pet-unet-synthetic's where there is no other.",
)
@click.option(
    "--threshold",
    type=click.FLOAT,
    default=0.5,
    help="A pixel is pet where its probability is above this, between 0 and 1.",
)
@click.option("--overlays", type=click.BOOL, default=False, help="Also the photo, pets in green.")
@click.option(
    "--probabilities",
    type=click.BOOL,
    default=False,
    help="Also the probability of pet as grey, 0 to 255.",
)
@click.option("--overwrite", type=click.BOOL, default=False, help="Replace files that are there.")
@config_options("device")
@pickle_option
@one_line_errors
def main(
    images: str, output: str, model: str, threshold: float, overwrite: bool, **options: Any
) -> None:
    """Tell pet from background in photos: a PNG of 0 and 255 for each, at its own size."""
    if not 0 < threshold < 1:
        raise ConfigError(f"threshold={threshold}: expected more than 0 and less than 1")
    config = Config.from_options(options)
    # What follows takes seconds to import; --help and wrong parameters need none of it.
    from segmentation.data.photo_folder import TABLE, PredictOptions, find_photos, require_free
    from segmentation.errors import DataError
    from segmentation.utils.paths import printable, user_path

    wanted = PredictOptions(
        output=user_path(output, "output"),
        threshold=threshold,
        overlays=options["overlays"],
        probabilities=options["probabilities"],
    )
    tasks, others = find_photos(user_path(images, "images"), wanted.output)
    require_free(tasks, wanted, overwrite=overwrite)

    from segmentation.runtime.device import choose_compute
    from segmentation.tracking.commands import view_run
    from segmentation.tracking.registry.loading import default_model, load
    from segmentation.tracking.store import connect
    from segmentation.tracking.summaries.predictions import log_prediction
    from segmentation.workflows.predict import predict

    store = connect()
    uri = model or default_model("champion")
    compute = choose_compute(config.training)
    loaded = load(uri, compute.device, allow_pickle=options["allow_pickle"])
    click.echo(f"Model: {loaded.label}, on {loaded.model.device.type}")
    for ending, count in sorted(others.items()):
        click.echo(f"Not looked at: {count} file(s), ending: {ending}")
    done = predict(loaded.model, tasks, wanted, ProgressBar("Predicting"))
    settings = {
        # With a prefix: the plain names hold what was typed, as MLflow's launcher logs it.
        "predict.images": printable(images),
        "predict.output": printable(output),
        "predict.model": loaded.label,
        "predict.threshold": threshold,
    }
    run_id = log_prediction(done, loaded, settings, wanted.output / TABLE)
    for problem in done.problems:
        click.echo(f"Left out: {problem}")
    if done.photos:
        click.echo(
            f"Wrote {done.photos} masks to {printable(str(wanted.output / 'masks'))}, "
            f"{done.photos / done.seconds:.0f} photos/s; on average {done.pet_share:.1%} is pet"
        )
    click.echo(f"Table: {printable(str(wanted.output / TABLE))}")
    click.echo(f"Look:  {view_run(store, run_id)}")
    if done.problems:
        raise DataError(
            f"{len(done.problems)} of {len(tasks)} photos could not be used (listed above); the "
            "others are done"
        )


if __name__ == "__main__":
    main()
