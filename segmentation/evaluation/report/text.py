"""What an examination found, in sentences: for the console, the run's page and the report."""

import dataclasses
from collections.abc import Sequence

from segmentation.evaluation.analysis import Analysis, Slice
from segmentation.evaluation.scoring import THRESHOLD
from segmentation.metrics.boundary import TOLERANCE

_KINDS = {"val": "validation", "train": "training"}
_BORDERS = {"pet": "as pet", "background": "as background", "ignore": "ignored"}
#: Below so many images a slice has no interval.
_FEW = 5

#: How the figures are computed: a term, and what it means.
DEFINITIONS = (
    (
        "Dice, IoU, accuracy",
        "of each image at its own size, pet being positive and everything above a probability of "
        "0.5 called pet: Dice is 2 TP / (2 TP + FP + FN) (L. R. Dice, *Ecology* 26, 1945), IoU is "
        "TP / (TP + FP + FN) (P. Jaccard, *New Phytologist* 11, 1912), accuracy is (TP + TN) / "
        "all pixels. Then their mean over images, so that each image weighs the same.",
    ),
    (
        "95 % interval",
        "percentile bootstrap of that mean over images, 10,000 resamples (B. Efron, R. Tibshirani, "
        "*An Introduction to the Bootstrap*, 1993). It speaks of other images of the same kind, "
        "not of other trainings; for 20 images or fewer it is rather too narrow.",
    ),
    (
        "Pooled",
        "the pixel counts of all images put into the same formula once, so that large pets weigh "
        "more.",
    ),
    (
        "Floors",
        "what answering 'pet' everywhere, or 'background' everywhere, scores on the same images. "
        "A score is worth what it adds to them.",
    ),
    (
        "Border",
        "the trimaps leave a band along the outline unclassified. It counts as pet, as background, "
        "or not at all (ignored).",
    ),
    (
        "Boundary F",
        "precision is the share of the predicted outline that lies within a tolerance of the true "
        "one, recall the share of the true outline within it of the predicted one, "
        "F = 2 P R / (P + R); the tolerance is 0.75 % of the photo's diagonal, in pixels rounded "
        "up (G. Csurka, D. Larlus, F. Perronnin, BMVC 2013). With the border ignored, the true "
        "outline is the border's outer edge.",
    ),
    (
        "Calibration",
        "all pixels that count, in ten bins by their probability of pet; the expected calibration "
        "error is the mean over pixels of the distance between a bin's mean probability and its "
        "share of pet (after C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, ICML 2017).",
    ),
)


#: The same in brief.
IN_BRIEF = (
    "Each image counts once, at its own size; above a probability of 0.5 is pet. Dice = 2 TP / "
    "(2 TP + FP + FN) (L. R. Dice, *Ecology* 26, 1945), IoU = TP / (TP + FP + FN) (P. Jaccard, "
    "*New Phytologist* 11, 1912). Interval: percentile bootstrap over images, 10,000 resamples "
    "(B. Efron, R. Tibshirani, 1993); it speaks of other images, not of other trainings. Pooled: "
    "the counts of all images in one ratio. Boundary F: G. Csurka, D. Larlus, F. Perronnin, BMVC "
    "2013. Calibration error: over ten bins of the probability of pet, after C. Guo, G. Pleiss, "
    "Y. Sun, K. Q. Weinberger, ICML 2017."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What a reader must know of the model and the images besides the figures.

    Attributes:
        model: what it is called, such as `pet-unet version 3`.
        uri: its address.
        data: what the images are and under which licence, in Markdown.
        seen: how many of the images trained the model or chose its epoch; None if that is not
            known.
        chosen: what those did, such as `20 chose its epoch`; may be empty.
    """

    model: str
    uri: str
    data: str
    seen: int | None
    chosen: str = ""


def images(examination: Analysis, number: int | None = None) -> str:
    """Return such as `60 test images`: all of them, or `number`."""
    number = len(examination.examples) if number is None else number
    kind = _KINDS.get(examination.split, examination.split)
    return f"{number:,} {kind} image{'' if number == 1 else 's'}"


def counted(number: int) -> str:
    """Return such as `1 image` or `12 images`."""
    return f"{number:,} image{'' if number == 1 else 's'}"


def border_of(name: str) -> str:
    """Return what a meaning of the border is called: `as pet`, `as background`, `ignored`."""
    return _BORDERS[name]


def tolerance() -> str:
    """Return the tolerance of the boundary F-score in words."""
    return f"{TOLERANCE * 100:g} % of the diagonal"


def score(examination: Analysis) -> str:
    """Return the figures of the model in one sentence."""
    low, high = examination.evaluation.interval()
    mean = examination.evaluation.counts.mean()
    return (
        f"Dice {mean.dice:.3f} (95 % interval {low:.3f} to {high:.3f}), IoU {mean.iou:.3f}, pixel "
        f"accuracy {mean.accuracy:.3f}, each a mean over {images(examination)} at their own size, "
        f"border {border_of(examination.border)}"
    )


def pooled(examination: Analysis) -> str:
    """Return the scores of the pooled pixels."""
    counts = examination.evaluation.counts
    all_pixels = counts.pooled()
    return (
        f"over the pooled pixels of {images(examination)}, of which {counts.pet_share() * 100:.0f} "
        f"% are pet: Dice {all_pixels.dice:.3f}, IoU {all_pixels.iou:.3f}, accuracy "
        f"{all_pixels.accuracy:.3f}"
    )


def floors(examination: Analysis) -> str:
    """Return the floors of the same images."""
    counts = examination.evaluation.counts
    return (
        f"on the same {images(examination)} answering 'pet' everywhere scores Dice "
        f"{counts.all_pet().mean().dice:.3f}, answering 'background' everywhere accuracy "
        f"{counts.all_background().mean().accuracy:.3f}"
    )


def borders(examination: Analysis) -> str:
    """Return Dice for the meanings of the border side by side."""
    each = [
        f"{border_of(name)} {evaluation.counts.mean().dice:.3f}"
        for name, evaluation in examination.by_border.items()
    ]
    return f"Dice with the border counted {', '.join(each)}; {images(examination)} each time"


def boundary(examination: Analysis) -> str:
    """Return the quality of the outline."""
    low, high = examination.boundary_interval
    return (
        f"boundary F {examination.boundary.mean():.3f} (95 % interval {low:.3f} to {high:.3f}), "
        f"outlines met within {tolerance()}, mean over {images(examination)}"
    )


def calibration(examination: Analysis) -> str:
    """Return what the probabilities are worth, and the threshold."""
    pixels = sum(one.pixels for one in examination.bins)
    best, curve = examination.best_threshold, examination.curve
    threshold = (
        f"no threshold gives a higher Dice than {THRESHOLD:g}, to three digits"
        if curve[best] - curve[THRESHOLD] < 0.0005
        else f"Dice is highest at the threshold {best:g}, {curve[best]:.3f} against "
        f"{curve[THRESHOLD]:.3f} at {THRESHOLD:g}, as chosen by these very images"
    )
    return (
        f"calibration error {examination.calibration_error:.3f} over the {pixels:,} pixels of "
        f"{images(examination)}; {threshold}"
    )


def species(examination: Analysis) -> str:
    """Return Dice by species."""
    found = of_kind(examination, "species")
    return "Dice " + ", ".join(_of(one) for one in found)


def extremes(examination: Analysis) -> str:
    """Return the worst and the best breed; empty where there are not two."""
    breeds = of_kind(examination, "breed")
    many = [one for one in breeds if one.images >= _FEW]
    ranked = by_dice(many if len(many) > 1 else breeds)
    if len(ranked) < 2:
        return ""
    said = f"of {len(breeds)} breeds the worst is {_of(ranked[0])}, the best {_of(ranked[-1])}"
    if len(many) < 2:
        return f"{said}; with so few images of each that is a hint"
    left = len(breeds) - len(many)
    return f"{said}; {left} with fewer than {_FEW} images not counted" if left else said


def of_kind(examination: Analysis, kind: str) -> list[Slice]:
    """Return the slices of a kind, `species` or `breed`."""
    return [one for one in examination.slices if one.kind == kind]


def by_dice(slices: Sequence[Slice]) -> list[Slice]:
    """Return slices with the lowest Dice first."""
    return sorted(slices, key=lambda one: (one.dice, one.name))


def left_out(examination: Analysis) -> str:
    """Say how many images cannot be used; empty if all can."""
    number = len(examination.problems)
    if not number:
        return ""
    verb = "is" if number == 1 else "are"
    return (
        f"{number:,} of {images(examination, number + len(examination.examples))} cannot be used "
        f"and {verb} left out"
    )


def unseen(examination: Analysis, about: ReportContext) -> str:
    """Say that none of the images trained the model; empty if some did or nobody knows."""
    if about.seen != 0:
        return ""
    said = f"none of the {images(examination)} trained the model or chose its epoch"
    if examination.split == "gate":
        said += "; they do choose champions and the winners of searches, though"
    return said


def warnings(examination: Analysis, about: ReportContext) -> list[str]:
    """Return what lowers the worth of the figures, a sentence each."""
    found = []
    if not examination.evaluation.above_baselines():
        found.append(
            f"The model is not above the floors: {floors(examination)}. Dice and accuracy must "
            "both be higher than either answer's."
        )
    if about.seen is None:
        found.append(
            "It is not known which images trained the model: if some of these did, the figures "
            "are too high as a forecast."
        )
    elif about.seen:
        how = f" ({about.chosen})" if about.chosen else ""
        found.append(
            f"The model has seen {about.seen:,} of the {images(examination)} before{how}: as a "
            "forecast the figures are too high."
        )
    return found


def sentence(words: str) -> str:
    """Return words with a capital and a full stop."""
    return f"{words[:1].upper()}{words[1:]}."


def _of(one: Slice) -> str:
    return f"{one.name} {one.dice:.3f} ({counted(one.images)})"
