"""The bare step: what a training step costs without anything around it."""

import torch
from torch import nn

from segmentation.runtime.device import Compute

_LR = 1e-3  # its value costs nothing


class BareStep:
    """Forward, BCEWithLogitsLoss, backward and AdamW on one random batch."""

    def __init__(
        self, network: nn.Module, images: int, size: int, compute: Compute, *, fused: bool
    ) -> None:
        """Lay out a batch of `images` pictures of `size` x `size` pixels on the device.

        Args:
            network: maps uint8 (N, 3, S, S) to logits (N, 1, S, S); moved there too, channels last.
            images: N.
            size: S, in pixels.
            compute: where, and in which precision.
            fused: whether AdamW updates all weights in one pass, or as PyTorch does by default.
        """
        self._network = network.to(compute.device).to(memory_format=torch.channels_last).train()
        self._compute, self._criterion = compute, nn.BCEWithLogitsLoss()
        self.lay_out(images, size)
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=_LR, fused=True if fused else None
        )

    def lay_out(self, images: int, size: int) -> None:
        """Put another batch in the place of the one there was; see `__init__`."""
        self._image, self._mask = random_batch(images, size, self._compute.device)

    def __call__(self) -> None:
        """Update the weights once."""
        with self._compute.autocast():
            logits = self._network(self._image)
        loss = self._criterion(logits.float(), self._mask)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()


def random_batch(images: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return uint8 (N, 3, S, S), channels last, and a float mask (N, 1, S, S) in {0, 1}."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (images, 3, size, size), dtype=torch.uint8, generator=generator)
    mask = (torch.rand(images, 1, size, size, generator=generator) < 0.4).float()
    return image.to(device).contiguous(memory_format=torch.channels_last), mask.to(device)
