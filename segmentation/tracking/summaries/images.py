"""The table of scored images with their thumbnails, for trainings, searches and evaluations."""

from collections.abc import Mapping, Sequence

import numpy as np

from segmentation.data.example import Example
from segmentation.evaluation.gallery import MOST_THUMBNAILS, Gallery
from segmentation.evaluation.pictures import try_draw
from segmentation.evaluation.scoring import Evaluation
from segmentation.metrics.segmentation import Floats
from segmentation.tracking.logging.run_logger import RunLogger, png_of


def log_images(
    run: RunLogger,
    evaluation: Evaluation,
    gallery: Gallery,
    scores: Mapping[str, Floats] | None = None,
) -> None:
    """Log `SPLIT/images.json`, a row an image with its thumbnail, and `SPLIT/worst.jpg`.

    The lowest Dice comes first. `scores` are what the table shows besides, a value an image.
    """
    counts = evaluation.counts
    dice = counts.dice()
    ids = np.array([example.id for example in evaluation.examples])
    rows = np.lexsort((ids, dice))[:MOST_THUMBNAILS]  # those of which a gallery has pictures
    columns = {
        "dice": dice,
        "iou": counts.iou(),
        "accuracy": counts.accuracy(),
        "dice_all_pet": counts.all_pet().dice(),
        **(scores or {}),
    }
    examples = [evaluation.examples[row] for row in rows]

    def thumbnails() -> list[bytes]:
        small = gallery.thumbnails
        return [png_of(small[example.id]) for example in examples if small]

    table = names(examples) | {
        name: values[rows].round(4).tolist() for name, values in columns.items()
    }
    drawn = try_draw("thumbnails", thumbnails)
    images = {"photo, truth, prediction": drawn} if drawn else {}
    run.log_table(table, f"{evaluation.split}/images.json", images)
    run.log_image(gallery.worst, f"{evaluation.split}/worst.jpg")


def names(examples: Sequence[Example]) -> dict[str, list[str]]:
    """Return the columns that say which images these are."""
    labels = examples[0].labels
    columns = {"id": "id", **({"species": "species"} if labels.trimap else {})}
    columns |= {labels.kind: "kind"} if labels.kind else {}
    return {
        name: [getattr(example, field) for example in examples] for name, field in columns.items()
    }
