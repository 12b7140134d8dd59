"""What a finished training scores, in sentences: for the console, and for the pages in MLflow."""

from segmentation.evaluation.scoring import Evaluation


def headline(evaluation: Evaluation) -> str:
    """Return the Dice of a model beside what a trivial answer scores, in a short line."""
    counts, (low, high) = evaluation.counts, evaluation.interval
    warning = "" if evaluation.above_baselines() else " - NOT above the trivial baselines"
    return (
        f"Dice {counts.mean().dice:.3f} (95 % interval {low:.3f} to {high:.3f}) on {len(counts)} "
        f"validation images; 'pet' everywhere scores {counts.all_pet().mean().dice:.3f}{warning}"
    )


def score(evaluation: Evaluation) -> str:
    """Return the figures of a model in one sentence."""
    counts, (low, high) = evaluation.counts, evaluation.interval
    mean = counts.mean()
    return (
        f"Dice {mean.dice:.3f} (95 % interval {low:.3f} to {high:.3f}), IoU {mean.iou:.3f}, "
        f"pixel accuracy {mean.accuracy:.3f}, each a mean over {len(counts)} validation images "
        "at their own size"
    )


def floor(evaluation: Evaluation) -> str:
    """Return what trivial answers score on the same images, in one sentence."""
    pet = evaluation.counts.all_pet().mean()
    background = evaluation.counts.all_background().mean()
    return (
        f"answering 'pet' everywhere scores Dice {pet.dice:.3f}, answering 'background' "
        f"everywhere accuracy {background.accuracy:.3f}"
    )
