"""The networks, and the wrapper around one that is registered.

O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", MICCAI 2015; with batch normalization, padded convolutions, and upsampling by
nearest neighbour after a 1 x 1 convolution in place of the transposed one. Squares of pixels may be
taken as one, with more channels: W. Shi et al., "Real-Time Single Image and Video Super-Resolution
Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR 2016.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from segmentation.config.training import OWN_ENCODER, ModelConfig
from segmentation.models.encoders import create_encoder
from segmentation.models.folding import folded

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


class EncoderDecoder(nn.Module):
    """What our networks share: normalization, the decoder of a U-Net, any height and width.

    Takes RGB as it is stored and gives the logit of `pet` for each pixel. Normalization is inside,
    so that inference cannot disagree with training. Skips and upsampled maps meet at the skip's
    size, and what a multiple of `multiple` lacks is filled by repeating the border.
    """

    encoder: nn.Module  # its parameters are the first
    patch: int  # side, in pixels, of a square that is one pixel of the finest level
    stride: int  # pixels of the image by one of the coarsest level, along a side
    multiple: int  # of which the encoder takes heights and widths, in pixels
    pretrained = False  # whether the encoder's weights come from another task
    description: str
    mean: Tensor
    std: Tensor

    def _add_decoder(
        self, width: int, channels: Sequence[int], mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """Make what follows the encoder, whose levels have these channels, fine to coarse.

        It has `width` channels at the finest level, at each further one twice as many.
        """
        *skips, lowest = channels
        widths = [width << level for level in range(len(skips))]
        self.reduce = nn.ModuleList(
            nn.Conv2d(lower, upper, 1) for upper, lower in itertools.pairwise([*widths, lowest])
        )
        self.decoder = nn.ModuleList(
            ConvBlock(skip + upper, upper) for skip, upper in zip(skips, widths, strict=True)
        )
        self.head = nn.Conv2d(width, self.patch**2, 1)
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def _levels(self, x: Tensor) -> list[Tensor]:
        """Return the encoder's features, fine to coarse, of a normalized image."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 or float (N, 3, H, W) RGB in [0, 255] to (N, 1, H, W), log-odds of pet."""
        height, width = image.shape[-2:]
        x = (image.float() - self.mean) / self.std
        missing = (0, -width % self.multiple, 0, -height % self.multiple)
        if any(missing):
            x = functional.pad(x, missing, mode="replicate")
        *skips, x = self._levels(x)
        for reduce, block in zip(reversed(self.reduce), reversed(self.decoder), strict=True):
            skip = skips.pop()
            # A 1 x 1 convolution commutes with nearest upsampling; first, it costs a quarter.
            x = functional.interpolate(reduce(x), size=skip.shape[-2:], mode="nearest")
            x = block(torch.cat([skip, x], dim=1))
        logits: Tensor = self.head(x)
        if self.patch > 1:
            logits = functional.pixel_shuffle(logits, self.patch)
        return logits[..., :height, :width]


class UNet(EncoderDecoder):
    """A U-Net of our own, for any height and width of at least patch * 2 ** (depth - 1).

    Its first level, of `depth` levels, has `width` channels, each further one twice as many.
    """

    encoder: nn.ModuleList

    def __init__(self, width: int, depth: int, patch: int = 1) -> None:
        super().__init__()
        self.patch, self.stride, self.multiple = patch, patch << (depth - 1), patch
        self.description = f"U-Net of width {width} and depth {depth}"
        channels = [width << level for level in range(depth)]
        self.encoder = nn.ModuleList(
            ConvBlock(inputs, outputs)
            for inputs, outputs in zip([3 * patch**2, *channels], channels, strict=False)
        )
        self._add_decoder(width, channels, _MEAN, _STD)

    def _levels(self, x: Tensor) -> list[Tensor]:
        if self.patch > 1:
            x = functional.pixel_unshuffle(x, self.patch)
            x = x.contiguous(memory_format=torch.channels_last)  # which unshuffling undoes
        found: list[Tensor] = []
        for level, block in enumerate(self.encoder):
            x = block(functional.max_pool2d(x, 2) if level else x)
            found.append(x)
        return found


class EncoderUNet(EncoderDecoder):
    """Our decoder behind an encoder of timm's.

    Logits are predicted where the encoder is finest, mostly at half of the image's resolution.
    A pretrained encoder normalizes by the statistics that it came with, in training too: so its
    normalization is folded away.
    """

    def __init__(self, encoder: Any, width: int, *, pretrained: bool) -> None:
        super().__init__()
        strides, known = encoder.feature_info.reduction(), encoder.pretrained_cfg
        self.patch, self.stride, self.multiple = strides[0], strides[-1], strides[-1]
        self.pretrained = pretrained
        example = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
        self.encoder = folded(encoder, example) if pretrained else encoder
        mean, std = ([255 * one for one in known[name]] for name in ("mean", "std"))
        self._add_decoder(width, encoder.feature_info.channels(), mean, std)

    def train(self, mode: bool = True) -> "EncoderUNet":
        super().train(mode)
        if self.pretrained:
            self.encoder.eval()
        return self

    def _levels(self, x: Tensor) -> list[Tensor]:
        found: list[Tensor] = self.encoder(x.contiguous(memory_format=torch.channels_last))
        return found


def build_unet(config: ModelConfig, seed: int) -> EncoderDecoder:
    """Return a network whose random weights are the same for the same `seed`.

    Raises:
        ConfigError: there is no such encoder, or its weights cannot be had.
    """
    return _assemble(config, config.weights, seed)


def rebuild_unet(shape: Mapping[str, Any]) -> EncoderDecoder:
    """Return a network that waits for its weights, by the `ModelConfig` of a registered model.

    Raises:
        ConfigError: there is no such encoder in this version of timm.
    """
    known = {name: shape[name] for name in ModelConfig.__annotations__ if name in shape}
    # The first ones had no `encoder`.
    return _assemble(ModelConfig(**{"encoder": OWN_ENCODER, **known}), "none", 0)


@torch.random.fork_rng(devices=())  # who calls from Python may have seeded what they draw next
def _assemble(config: ModelConfig, weights: str, seed: int) -> EncoderDecoder:
    torch.default_generator.manual_seed(seed)
    if config.encoder == OWN_ENCODER:
        return UNet(config.width, config.depth, config.patch)
    encoder, origin = create_encoder(config.encoder, weights)
    network = EncoderUNet(encoder, config.width, pretrained=config.weights != "none")
    network.description = (
        f"U-Net of width {config.width} behind the encoder {config.encoder}, which began with "
        f"{origin}"
    )
    return network


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
