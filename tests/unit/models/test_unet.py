"""The network and its wrapper."""

import pytest
import torch

from segmentation.config.training import ModelConfig
from segmentation.models.unet import Segmenter, UNet, build_unet


@pytest.mark.parametrize("patch", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (37, 53), (24, 100), (25, 26)])
def test_any_height_and_width_give_logits_of_that_size(height: int, width: int, patch: int) -> None:
    network = UNet(width=4, depth=4, patch=patch).eval()
    image = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
    assert network(image).shape == (2, 1, height, width)


def test_every_weight_learns() -> None:
    network = UNet(width=4, depth=3)
    image = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    network(image).square().sum().backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_patches_put_every_pixel_back_where_it_was() -> None:
    """A network that answers each pixel by its own red, whatever the size of its patches."""
    for patch in (2, 3):
        network = UNet(width=3 * patch**2, depth=2, patch=patch).eval()
        network.encoder[0] = torch.nn.Identity()
        network.decoder[0] = torch.nn.Identity()
        network.encoder[1] = torch.nn.Conv2d(3 * patch**2, 6 * patch**2, 1)
        network.head = torch.nn.Conv2d(6 * patch**2, patch**2, 1, bias=False)
        with torch.no_grad():
            network.head.weight.zero_()
            for place in range(patch**2):
                network.head.weight[place, place] = 1  # channel 0, red, of each place
        image = torch.randint(0, 256, (1, 3, 13, 17), dtype=torch.uint8)
        expected = (image[:, :1].float() - network.mean[:, :1]) / network.std[:, :1]
        assert torch.allclose(network(image), expected)


@pytest.mark.parametrize(
    ("encoder", "weights"),
    [("unet", "auto"), ("efficientnet_lite0", "auto"), ("resnet18", "none")],
)
def test_the_same_seed_draws_the_same_weights(encoder: str, weights: str) -> None:
    config, state = ModelConfig(encoder=encoder, weights=weights, width=4), torch.get_rng_state()
    a, b, c = (build_unet(config, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["head.weight"], c["head.weight"])
    assert torch.equal(torch.get_rng_state(), state)  # a notebook's own draws go on as seeded


class Redness(torch.nn.Module):
    """A network whose answer can be computed by hand: positive where red is above the middle."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image[:, :1] - 127.5) / 10


def test_the_wrapper_answers_at_the_photos_own_size_and_place() -> None:
    image = torch.zeros(1, 3, 301, 457, dtype=torch.uint8)
    image[0, 0, 60:200, 100:300] = 255
    probability = Segmenter(Redness(), 128)(image)
    assert probability.shape == (1, 1, 301, 457)
    assert probability.dtype == torch.float32
    assert probability.min() >= 0
    assert probability.max() <= 1
    agreement = ((probability > 0.5) == (image[:, :1] > 127)).float().mean()
    assert agreement > 0.99


def test_the_wrapper_gives_each_image_of_a_batch_what_it_gives_it_alone() -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(UNet(width=4, depth=3), 32).eval()
    images = torch.randint(0, 256, (5, 3, 45, 31), dtype=torch.uint8)
    alone = torch.cat([segmenter(image[None]) for image in images])
    assert torch.allclose(segmenter(images), alone, atol=1e-5)
