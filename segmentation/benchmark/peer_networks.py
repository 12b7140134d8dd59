"""The networks of the peers, each behind the same input and output as ours."""

import torch
from torch import Tensor, nn

from segmentation.models.unet import UNet

#: Mean and standard deviation of ImageNet's channels, in units of 0 to 255: R, G, B.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)

#: Shape of the U-Net that the well-known scripts train.
SCRIPT_WIDTH, SCRIPT_DEPTH, SCRIPT_PATCH = 64, 4, 1


class Normalised(nn.Module):
    """A network that expects normalised colours, for pixels as they are stored."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        """Wrap what maps float (N, 3, H, W) to logits (N, 1, H, W)."""
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 or float (N, 3, H, W) in [0, 255] to logits (N, 1, H, W)."""
        logits: Tensor = self.network((image.float() - self.mean) / self.std)
        return logits


def build(network: str, seed: int) -> nn.Module:
    """Return a network with freshly drawn weights, the same ones for the same `seed`.

    Args:
        network: `script`, `smp` or `monai`; the package of the latter two must be installed.
        seed: of the weights.
    """
    torch.manual_seed(seed)
    if network == "smp":
        import segmentation_models_pytorch as smp

        return Normalised(smp.Unet("resnet34", encoder_weights=None))
    if network == "monai":
        from monai.networks.nets import BasicUNet

        return Normalised(BasicUNet(spatial_dims=2, in_channels=3, out_channels=1))
    return UNet(SCRIPT_WIDTH, SCRIPT_DEPTH, SCRIPT_PATCH)
