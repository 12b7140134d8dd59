"""The network, and the wrapper around it that is registered.

O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015; with batch normalization, padded convolutions, and upsampling by
nearest neighbour after a 1 x 1 convolution in place of the transposed one. Squares of pixels may be
taken as one, with more channels: W. Shi et al., "Real-Time Single Image and Video Super-Resolution
Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016.
"""

import copy
import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segmentation.config.training import ModelConfig

#: Mean and standard deviation of ImageNet's channels, in units of 0 to 255: R, G, B.
_MEAN = (123.675, 116.28, 103.53)
_STD = (58.395, 57.12, 57.375)


def resize_image(image: Tensor, size: int) -> Tensor:
    """Resize to a square, bilinear with antialiasing; the aspect ratio is not kept.

    From uint8 or float (N, 3, H, W) in [0, 255] to float32 (N, 3, size, size) in [0, 255].
    """
    return functional.interpolate(
        image.float(), size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )


def probability_of(logits: Tensor, height: int, width: int) -> Tensor:
    """Bring logits to the photo's size, bilinear, and turn them into probabilities.

    From float (N, 1, S, S) to float (N, 1, height, width) in [0, 1].
    """
    return torch.sigmoid(
        functional.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    )


class ConvBlock(nn.Sequential):
    """Twice: 3 x 3 convolution, batch normalization, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [
                nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """A U-Net that takes RGB as it is stored and gives the logit of `pet` for each pixel.

    Works for any height and width of at least patch * 2 ** (depth - 1): skips and upsampled maps
    meet at the skip's size, and what a multiple of `patch` lacks is filled by repeating the border.
    Normalization is inside, so that inference cannot disagree with training.

    Args:
        width: channels of the first level; each further one has twice as many.
        depth: number of levels, the bottom one included.
        patch: side of the squares of pixels that the first level takes as one.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, depth: int, patch: int = 1) -> None:
        super().__init__()
        self.patch = patch
        #: Pixels of the image by one of the lowest level, along a side.
        self.stride = patch << (depth - 1)
        channels = [width << level for level in range(depth)]
        self.encoder = nn.ModuleList(
            ConvBlock(inputs, outputs)
            for inputs, outputs in zip([3 * patch**2, *channels], channels, strict=False)
        )
        self.reduce = nn.ModuleList(
            nn.Conv2d(lower, upper, 1) for upper, lower in itertools.pairwise(channels)
        )
        self.decoder = nn.ModuleList(ConvBlock(2 * upper, upper) for upper in channels[:-1])
        self.head = nn.Conv2d(width, patch**2, 1)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 or float (N, 3, H, W) RGB in [0, 255] to (N, 1, H, W), log-odds of pet."""
        height, width = image.shape[-2:]
        x = (image.float() - self.mean) / self.std
        if self.patch > 1:
            missing = (0, -width % self.patch, 0, -height % self.patch)
            x = functional.pad(x, missing, mode="replicate") if any(missing) else x
            x = functional.pixel_unshuffle(x, self.patch)
            x = x.contiguous(memory_format=torch.channels_last)  # which unshuffling undoes
        skips: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for reduce, block in zip(reversed(self.reduce), reversed(self.decoder), strict=True):
            skip = skips.pop()
            # A 1 x 1 convolution commutes with nearest upsampling; first, it costs a quarter.
            x = functional.interpolate(reduce(x), size=skip.shape[-2:], mode="nearest")
            x = block(torch.cat([skip, x], dim=1))
        logits: Tensor = self.head(x)
        if self.patch > 1:
            logits = functional.pixel_shuffle(logits, self.patch)[..., :height, :width]
        return logits


def folded(network: UNet) -> UNet:
    """Return a copy for inference, each batch normalization folded into its convolution.

    The same function up to rounding, without the passes over memory that normalizing takes. The
    network must be in eval mode.
    """
    network = copy.deepcopy(network)
    for block in [*network.encoder, *network.decoder]:
        layers = cast(nn.Sequential, block)
        for position, layer in enumerate(layers):
            if isinstance(layer, nn.BatchNorm2d):
                before = cast(nn.Conv2d, layers[position - 1])
                layers[position - 1] = fuse_conv_bn_eval(before, layer)
                layers[position] = nn.Identity()
    return network.to(memory_format=torch.channels_last)


def build_unet(config: ModelConfig, seed: int) -> UNet:
    """Return a U-Net with freshly drawn weights, the same ones for the same `seed`."""
    torch.manual_seed(seed)
    return UNet(config.width, config.depth, config.patch)


class Segmenter(nn.Module):
    """What is registered: a network that works at `image_size` pixels, for photos of any size."""

    def __init__(self, network: nn.Module, image_size: int) -> None:
        super().__init__()
        self.network = network
        self.image_size = image_size

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 (N, 3, H, W) RGB to float32 (N, 1, H, W) in [0, 1], the probability of pet."""
        logits = self.network(resize_image(image, self.image_size))
        return probability_of(logits, image.shape[-2], image.shape[-1])
