"""Images among the artifacts: the table of scored ones with thumbnails, and a dozen overlays."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from segmentation.data.example import Example
from segmentation.evaluation.gallery import MOST_THUMBNAILS, Gallery
from segmentation.evaluation.pictures import Mask, Picture, green, sheet, try_draw, views
from segmentation.evaluation.scoring import Evaluation
from segmentation.metrics.segmentation import Floats
from segmentation.tracking.logging.run_logger import RunLogger, png_of

#: The artifact of `log_overlays`, how many it shows at most, and how high, in pixels.
OVERLAYS, _DOZEN, _HEIGHT = "overlays.jpg", 12, 160


def log_overlays(run: RunLogger, some: Iterable[tuple[str, Picture, Mask]], noun: str) -> None:
    """Log a dozen of some images by their names, small, with their masks over them."""

    def draw() -> Picture:
        first = list(itertools.islice(some, _DOZEN))
        small = [views(image, mask, mask, _HEIGHT)[1] for _, image, mask in first]
        return sheet(small, [name[-20:] for name, *_ in first], 4, green(noun))

    run.log_image(draw, OVERLAYS)


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
