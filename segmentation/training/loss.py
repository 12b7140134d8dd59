"""The loss.

To add one, write a term like those below, and give it a name in `LOSSES` and among the choices of
`TrainingConfig.loss`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from segmentation.metrics.segmentation import soft_dice_losses
from segmentation.runtime.process_group import SINGLE_PROCESS, ProcessGroup

#: A part of a loss. Takes logits, mask in {0, 1} and valid in {0, 1}, float (N, 1, S, S) each;
#: pixels that are not valid must not count. Returns float (2,): a sum, and what to divide it by.
#: Both must add up over images, as the Dice of a whole batch in one ratio would not.
#: It is also called under `torch.func.vmap`: no `.item()`, no branch on values.
Term = Callable[[Tensor, Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """Return the binary cross-entropy, summed, and the number of pixels that count."""
    # Weighted and summed by the library, which takes fewer passes over memory.
    total = functional.binary_cross_entropy_with_logits(logits, mask, weight=valid, reduction="sum")
    return torch.stack([total, valid.sum()])


def dice(logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
    """Return one minus the soft Dice of each image, summed, and the number of images that count."""
    losses = soft_dice_losses(logits, mask, valid)  # 0 where no pixel counts
    return torch.stack([losses.sum(), valid.amax(dim=(1, 2, 3)).sum()])


LOSSES: dict[str, tuple[Term, ...]] = {
    "bce": (cross_entropy,),
    "bce+dice": (cross_entropy, dice),
}


class SegmentationLoss(nn.Module):
    """A sum of terms, by its name in `LOSSES`, over a batch of which each process has a part."""

    def __init__(self, loss: str, group: ProcessGroup = SINGLE_PROCESS) -> None:
        super().__init__()
        self.terms, self._group = LOSSES[loss], group

    def forward(self, logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of the whole batch, a scalar, given this process's part of it.

        Each is (N, 1, S, S); mask and valid in {0, 1}, and pixels that are not valid do not count.
        """
        part = self.evaluate(logits, mask, valid)
        batch = self._group.all_reduce(part.detach().clone())
        # The parts' losses add up to that of the batch, however unequal the parts are: each is
        # divided by the weight of the whole. DistributedDataParallel takes the mean of the
        # processes' gradients, where their sum is wanted.
        loss = _divide(part[:, 0], batch[:, 1]) * self._group.shard.size
        # The part's gradient, and the batch's value.
        return loss + (_divide(batch[:, 0], batch[:, 1]) - loss).detach()

    def evaluate(self, logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
        """Return the sum and the weight of each of T terms, float (T, 2)."""
        logits, mask, valid = logits.float(), mask.float(), valid.float()
        return torch.stack([term(logits, mask, valid) for term in self.terms])

    def evaluate_each(self, logits: Tensor, mask: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of each image by itself, float (N,)."""
        each: Callable[..., Tensor] = torch.func.vmap(self.evaluate)
        terms = each(logits.unsqueeze(1), mask.unsqueeze(1), valid.unsqueeze(1))
        return _divide(terms[..., 0], terms[..., 1])


def _divide(sums: Tensor, weights: Tensor) -> Tensor:
    return (sums / weights.clamp(min=1)).sum(dim=-1)  # 0 where no pixel counts
