"""Write a mask for each of a person's photos."""

from typing import Any

import click

from experiments.console import ProgressBar, one_line_errors
from experiments.options import config_options, entry_point, pickle_option
from segmentation.config.training import Config
from segmentation.data.photo_folder import PredictOptions
from segmentation.utils.paths import user_path


@entry_point
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
    "models:/pet-unet@champion, else pet-unet-synthetic's, else the only champion there is.",
)
@click.option(
    "--threshold",
    type=click.FLOAT,
    help="A pixel is foreground where its probability is above this, between 0 and 1.  "
    "[default: the model's own]",
)
@click.option(
    "--overlays", type=click.BOOL, default=False, help="Also the photo, the mask in green."
)
@click.option(
    "--probabilities",
    type=click.BOOL,
    default=False,
    help="Also the probability of foreground as gray, 0 to 255.",
)
@click.option("--overwrite", type=click.BOOL, default=False, help="Replace files that are there.")
@config_options("device")
@pickle_option
@one_line_errors
def main(images: str, output: str, model: str, allow_pickle: bool, **options: Any) -> None:
    """Tell foreground from background in photos: a PNG of 0 and 255 for each, at its own size."""
    config = Config.from_options({"device": options.pop("device")})
    wanted = PredictOptions(output=user_path(output, "output"), **options)
    photos, progress = user_path(images, "images"), ProgressBar("Predicting")
    # This takes seconds to import; --help and wrong parameters do without.
    from segmentation.workflows.predict import predict

    predict(photos, wanted, model, config, allow_pickle=allow_pickle, progress=progress)


if __name__ == "__main__":
    main()
