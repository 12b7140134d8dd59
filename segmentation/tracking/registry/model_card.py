"""What a colleague reads on the page of a run, of a model and of its versions, in Markdown."""

import dataclasses

from segmentation.config.training import Config
from segmentation.evaluation.scoring import Evaluation
from segmentation.tracking.templates import render
from segmentation.training.state import TrainingState


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSummary:
    """All that the descriptions tell of.

    Attributes:
        config: the settings.
        data: where the images are from, in words.
        amp: the arithmetic, in words.
        sizes: number of images by split.
        result: how training went.
        evaluation: what the finished model scores.
    """

    config: Config
    data: str
    amp: str
    sizes: dict[str, int]
    result: TrainingState
    evaluation: Evaluation

    def score(self) -> str:
        """Return the figures of the model in one sentence."""
        counts = self.evaluation.counts
        low, high = self.evaluation.interval
        mean = counts.mean()
        return (
            f"Dice {mean.dice:.3f} (95 % interval {low:.3f} to {high:.3f}), IoU {mean.iou:.3f}, "
            f"pixel accuracy {mean.accuracy:.3f}, each a mean over {len(counts)} validation images "
            "at their own size"
        )

    def floor(self) -> str:
        """Return what trivial answers score on the same images, in one sentence."""
        pet = self.evaluation.counts.all_pet().mean()
        background = self.evaluation.counts.all_background().mean()
        return (
            f"answering 'pet' everywhere scores Dice {pet.dice:.3f}, answering 'background' "
            f"everywhere accuracy {background.accuracy:.3f}"
        )

    def run(self) -> str:
        """Return the description of the run."""
        return render("run", summary=self, result=self.result, **vars(self.config))

    def version(self, run_id: str) -> str:
        """Return the description of the model version."""
        return render("version", summary=self, run_id=run_id, **vars(self.config))


def model(name: str, data: str) -> str:
    """Return the description of the registered model `name`, trained on `data`."""
    return render("model", name=name, data=data)
