"""The loss."""

from torch import Tensor, nn

from segmentation.metrics import soft_dice_loss


class Criterion(nn.Module):
    """BCEWithLogitsLoss over the pixels that count, alone or plus one minus the soft Dice."""

    def __init__(self, loss: str) -> None:
        """Choose `bce` or `bce+dice`."""
        super().__init__()
        self._with_dice = loss == "bce+dice"

    def forward(self, logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
        """Return a scalar: float logits, and mask and valid in {0, 1}, all (N, 1, S, S)."""
        logits, mask, valid = logits.float(), mask.float(), valid.float()
        # Weighted and summed in the loss itself, which takes fewer passes over memory.
        bce = nn.BCEWithLogitsLoss(weight=valid, reduction="sum")
        loss: Tensor = bce(logits, mask) / valid.sum().clamp(min=1)
        if self._with_dice:
            loss = loss + soft_dice_loss(logits, mask, valid)
        return loss
