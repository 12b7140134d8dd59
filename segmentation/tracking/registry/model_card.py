"""What a colleague reads on the page of a run, of a model and of its versions, in Markdown."""

import dataclasses

from segmentation.config.training import Config
from segmentation.evaluation.scoring import Evaluation
from segmentation.training.state import TrainingState

_CALL = (
    "**Tensors** (`mlflow.pytorch.load_model`): uint8 RGB `(N, 3, H, W)` of any height and width, "
    "upright, in; float32 `(N, 1, H, W)`, the probability of pet for each pixel, out; above 0.5 is "
    "pet. Resizing and normalisation are inside. **Photos** (`mlflow.pyfunc.load_model`, "
    "`mlflow models serve`): a column `image` of JPEG, PNG, GIF or WebP, as bytes or base64, in; "
    "`mask`, a PNG of 0 and 255, and `pet_share` out. Needs MLflow, PyTorch and Pillow, not the "
    "code that trained it; without pickle."
)


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
        """Return the floors of the same images in one sentence."""
        pet = self.evaluation.counts.all_pet().mean()
        background = self.evaluation.counts.all_background().mean()
        return (
            f"answering 'pet' everywhere scores Dice {pet.dice:.3f}, answering 'background' "
            f"everywhere accuracy {background.accuracy:.3f}"
        )

    def run(self) -> str:
        """Return the description of the run."""
        model, training, data = self.config.model, self.config.training, self.config.data
        return f"""\
**{self.score()}.** On the same images {self.floor()}.

The epoch was chosen by these images too, and they are few: the figure is good for comparing runs \
on the same split, and is rather high as a forecast.

- Data: {self.data}; {self.sizes["train"]} images to train, {self.sizes["val"]} to validate, \
border counted as {data.border}, {data.image_size} x {data.image_size} pixels
- Model: U-Net of width {model.width} and depth {model.depth}
- Training: {self.result.epoch} epochs in {self.result.seconds:.0f} s ({self.result.stop_reason}), \
best epoch {self.result.best_epoch}; batch {training.batch_size}, learning rate {training.lr:g}, \
loss {training.loss}, augmentation {training.augment}, {self.amp}

Look at the charts of `val/dice` and `train/loss`, and among the artifacts at \
`val/progress.jpg` (five pets over the epochs), `val/worst.jpg`, `val/images.json` and `curves.png`.
"""

    def version(self, run_id: str) -> str:
        """Return the description of the model version."""
        return f"""\
{self.score()}, border counted as {self.config.data.border}. On the same images \
{self.floor()}.

Trained on {self.sizes["train"]} images of {self.data}. U-Net of width {self.config.model.width} \
and depth {self.config.model.depth}, run `{run_id}`.

{_CALL}
"""


def model(name: str, data: str) -> str:
    """Return the description of the registered model `name`, trained on `data`."""
    return f"""\
Tells pet from background, pixel by pixel.

{_CALL}

```python
import mlflow, numpy, torch
from PIL import Image, ImageOps
model = mlflow.pytorch.load_model("models:/{name}@challenger")
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
image = torch.from_numpy(numpy.array(photo)).permute(2, 0, 1)[None]
Image.fromarray((model(image)[0, 0] > 0.5).numpy()).save("mask.png")
```

Serve it on loopback: `mlflow models serve -m models:/{name}@challenger --env-manager local --host \
127.0.0.1 --port 5001`.

Data: {data}.
"""
