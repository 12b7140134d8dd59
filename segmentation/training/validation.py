"""What a network says of the validation images, at the training size."""

import dataclasses
import itertools

import numpy as np
import torch
from torch import Tensor, nn

from segmentation.data.loader import BatchLoader
from segmentation.metrics.segmentation import Counts, count
from segmentation.runtime.device import Compute
from segmentation.runtime.process_group import ProcessGroup
from segmentation.training.loss import SegmentationLoss

_SHOWN = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation:
    """A network on the validation images."""

    loss: float  # the mean over images
    counts: Counts
    probabilities: Tensor  # float32 (K, S, S) in [0, 1], of the first K images, 16 at most

    def metrics(self) -> dict[str, float]:
        """Return the figures by their tracked names."""
        mean = self.counts.mean()
        return {
            "val/loss": self.loss,
            "val/dice": mean.dice,
            "val/iou": mean.iou,
            "val/accuracy": mean.accuracy,
            "val/dice_pooled": self.counts.pooled().dice,
        }


@torch.inference_mode()
def validate(
    model: nn.Module,
    batches: BatchLoader,
    criterion: SegmentationLoss,
    compute: Compute,
    group: ProcessGroup,
    most: int | None = None,
) -> Validation:
    """Score the validation split, or the first `most` batches of it, all processes together.

    The model maps uint8 (N, 3, S, S) to logits (N, 1, S, S), and is the same in all of them.
    """
    model.eval()
    # Each image's loss, pixels and probabilities; 0 where another process has it.
    images, side = batches.val_size, batches.image_size
    losses = torch.zeros(images, dtype=torch.float64)
    pixels = torch.zeros((images, 4), dtype=torch.int64)
    probabilities = torch.zeros((min(_SHOWN, images), side, side))
    done = 0
    for positions, share in itertools.islice(batches.validation_share(), most):
        done += len(positions)
        if share is None:  # fewer images than processes
            continue
        batch = share.to(compute.device)
        with compute.autocast():
            logits = model(batch.image)
        logits = logits.float()
        first = group.shard.of(positions)[0]
        rows = slice(first, first + len(logits))
        losses[rows] = criterion.evaluate_each(logits, batch.mask, batch.valid).cpu().double()
        counts = count(logits > 0, batch.mask, batch.valid)
        pixels[rows] = torch.from_numpy(np.stack([counts.tp, counts.fp, counts.fn, counts.tn], 1))
        shown = probabilities[rows]  # none, behind the first 16
        shown.copy_(torch.sigmoid(logits[: len(shown), 0]))
    losses, pixels, probabilities = map(group.all_reduce, (losses, pixels, probabilities))
    tp, fp, fn, tn = pixels[:done].numpy().T
    return Validation(
        loss=losses[:done].mean().item(),
        counts=Counts(tp=tp, fp=fp, fn=fn, tn=tn),
        probabilities=probabilities,
    )
