"""The loss."""

import torch
from torch import Tensor, nn

from segmentation.metrics.segmentation import soft_dice_losses


class SegmentationLoss(nn.Module):
    """BCEWithLogitsLoss over the pixels that count, alone or plus one minus the soft Dice."""

    def __init__(self, loss: str) -> None:
        """Choose `bce` or `bce+dice`."""
        super().__init__()
        self._with_dice = loss == "bce+dice"

    def forward(
        self,
        logits: Tensor,
        mask: Tensor,
        valid: Tensor,
        counted: Tensor | None = None,
        images: int = 0,
    ) -> Tensor:
        """Return a scalar.

        Args:
            logits: float (N, 1, S, S).
            mask: (N, 1, S, S) in {0, 1}.
            valid: (N, 1, S, S) in {0, 1}; pixels with 0 do not count.
            counted: how many pixels count in the whole batch, where this is a part of one: the
                parts' losses add up to that of the batch.
            images: how many the whole batch has then.
        """
        logits, mask, valid = logits.float(), mask.float(), valid.float()
        # Weighted and summed in the loss itself, which takes fewer passes over memory.
        bce = nn.BCEWithLogitsLoss(weight=valid, reduction="sum")
        counted = valid.sum() if counted is None else counted
        loss: Tensor = bce(logits, mask) / counted.clamp(min=1)
        if self._with_dice:
            losses = soft_dice_losses(logits, mask, valid)
            loss = loss + (losses.sum() / images if images else losses.mean())
        return loss

    def parts(self, logits: Tensor, mask: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return, of each image, its sum of the cross-entropy, pixels that count, and Dice loss.

        Args:
            logits: float (N, 1, S, S).
            mask: (N, 1, S, S) in {0, 1}.
            valid: (N, 1, S, S) in {0, 1}; pixels with 0 do not count.

        Returns:
            Float (N,) three times; the last is 0 where it is no part of the loss.
        """
        logits, mask, valid = logits.float(), mask.float(), valid.float()
        bce = nn.BCEWithLogitsLoss(weight=valid, reduction="none")(logits, mask)
        counted = valid.sum(dim=(1, 2, 3))
        dice = torch.zeros_like(counted)
        if self._with_dice:
            dice = soft_dice_losses(logits, mask, valid)
        return bce.sum(dim=(1, 2, 3)), counted, dice
