"""Encoders of timm's behind our decoder, and the weights that they begin with."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from segmentation.config.training import Config, ModelConfig, encoder_of
from segmentation.errors import ConfigError
from segmentation.models import encoders
from segmentation.models.encoders import create_encoder
from segmentation.models.folding import folded
from segmentation.models.unet import EncoderDecoder, build_unet, rebuild_unet
from tests.helpers.quick import Data, quick_trainer


def build(encoder: str = "efficientnet_lite0", weights: str = "auto") -> EncoderDecoder:
    return build_unet(ModelConfig(encoder=encoder, weights=weights, width=4), 0)


@pytest.mark.parametrize(
    ("encoder", "weights"),
    [("efficientnet_lite0", "auto"), ("resnet18", "none"), ("convnext_atto", "none")],
)
def test_any_height_and_width_give_logits_of_that_size(encoder: str, weights: str) -> None:
    network = build(encoder, weights).eval()
    for height, width in ((64, 64), (37, 53), (25, 100)):
        image = torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)
        assert network(image).shape == (2, 1, height, width)


@pytest.mark.parametrize("encoder", ["efficientnet_lite0", "resnet18", "densenet121"])
@torch.no_grad()
def test_a_folded_encoder_answers_as_it_did(encoder: str) -> None:
    torch.manual_seed(0)
    network, _ = create_encoder(encoder, "auto" if "lite" in encoder else "none")
    image = torch.randn(1, 3, 64, 96)
    short = folded(network, image)
    for one, other in zip(network(image), short(image), strict=True):
        assert torch.allclose(one, other, atol=1e-3 * float(one.abs().max()))
    left = sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in short.modules())
    assert bool(left) == (encoder == "densenet121")  # which also normalizes before it convolves


def test_a_file_of_a_whole_network_gives_an_encoder_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(7)
    whole = timm.create_model("resnet18").eval()
    features = timm.create_model("resnet18", features_only=True).eval()
    features.load_state_dict(whole.state_dict(), strict=False)
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    torch.save(features.state_dict(), tmp_path / "w.pth")
    image = torch.randn(1, 3, 64, 64)
    for name in ("w.safetensors", "w.pth"):
        encoder, origin = create_encoder("resnet18", str(tmp_path / name))
        assert all(map(torch.equal, encoder(image), features(image)))
        assert origin.startswith(f"weights of {name} (SHA-256 ")


class Code:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return exec, ("raise SystemExit",)


BROKEN: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("w.pth", lambda path: None, "there is no such file"),
    "code": ("w.pth", lambda path: path.write_bytes(pickle.dumps(Code())), "cannot be used"),
    "text": ("w.safetensors", lambda path: path.write_text("x" * 99), "cannot be used"),
    "a list": ("w.pth", lambda path: torch.save([torch.zeros(1)], path), "cannot be used"),
    "another network's": (
        "w.safetensors",
        lambda path: save_file(timm.create_model("resnet34").state_dict(), path),
        "is of another network than encoder=efficientnet_lite0, of whose ",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_no_weights_is_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    name, make, reason = BROKEN[case]
    make(tmp_path / name)
    with pytest.raises(ConfigError, match=f"^weights={tmp_path / name}: {reason}"):
        build(weights=str(tmp_path / name))


def test_what_is_not_known_or_not_here_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"encoder=resnet43: is not known; did you mean resnet34"):
        build("resnet43")
    with pytest.raises(ConfigError, match="encoder=vit_tiny_patch16_224: gives no features of"):
        build("vit_tiny_patch16_224")
    monkeypatch.setitem(encoders.PACKAGED, "efficientnet_lite3", "0" * 64)
    with pytest.raises(ConfigError, match=r"pip install efficientnet-lite3-pytorch-model==0.1.0"):
        build("efficientnet_lite3")
    damaged = encoders.PACKAGED["efficientnet_lite0"][:8] + "0" * 56
    monkeypatch.setitem(encoders.PACKAGED, "efficientnet_lite0", damaged)
    with pytest.raises(ConfigError, match=r"\.pth: is damaged; pip install --force-reinstall"):
        build()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"encoder": "resnet18", "depth": 5}, "depth=5: is of encoder=unet, .* encoder=resnet18"),
        ({"image_size": 16}, "image_size=16: expected at least 32"),
        ({"image_size": 32, "weights": "none"}, "image_size=32: expected at least 64"),
        ({"encoder": "unet", "weights": "w.pth"}, "weights=/.*w.pth: encoder=unet begins with"),
    ],
)
def test_what_belongs_to_other_encoders_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(ConfigError, match=f"^{reason}"):
        Config.from_options(options)


def test_defaults_are_those_of_the_encoder_unless_they_are_given() -> None:
    own = Config.from_options({"encoder": "unet", "lr": "1e-3", "image_size": ""})
    assert (own.training.epochs, own.data.image_size, own.training.lr) == (200, 128, 1e-3)
    assert Config.from_options({"encoder": "resnet18"}).training == Config().training


def test_who_gives_what_only_our_own_encoder_has_chooses_it() -> None:
    assert encoder_of(["lr", "patch"]) == {"encoder": "unet"}
    assert encoder_of(["lr", "encoder", "patch"]) == encoder_of(["lr"]) == {}


@pytest.mark.parametrize(
    ("weights", "encoder_lr", "moves"),
    [("auto", 0.0, False), ("auto", 0.1, True), ("none", 0.0, True)],
)
def test_an_encoder_moves_as_far_as_it_is_to(
    data: Data, weights: str, encoder_lr: float, moves: bool
) -> None:
    network = build(weights=weights)
    before = [one.detach().clone() for one in network.encoder.parameters()]
    trainer = quick_trainer(data, network=network, encoder_lr=encoder_lr)
    trainer.train_epoch()
    after = [one.detach() for one in network.encoder.parameters()]
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True)) == moves
    layers = network.encoder.modules()
    normalizing = [one for one in layers if isinstance(one, torch.nn.BatchNorm2d)]
    assert all(one.training for one in normalizing)
    assert bool(normalizing) == (weights == "none")
    if encoder_lr:  # one step of AdamW is the learning rate, whatever the gradient
        far = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
        assert far < 1.5 * 3 * encoder_lr * 1e-2


def test_weights_of_a_frozen_encoder_are_kept_once(data: Data) -> None:
    trainer = quick_trainer(data, network=build())
    trainer.record({**trainer.train_epoch(), "val/dice": 0.5})
    kept = trainer.state_dict()
    for name, tensor in kept["model"].items():
        if name.startswith("encoder."):
            others = kept["best"][name], kept["ema"][f"module.{name}"]
            assert {other.data_ptr() for other in others} == {tensor.data_ptr()}


def test_a_registered_networks_shape_gives_one_that_takes_its_weights() -> None:
    network = build()
    shape = {"encoder": "efficientnet_lite0", "weights": "auto", "width": 4, "image_size": 64}
    rebuild_unet(shape).load_state_dict(network.state_dict())
    former = {"width": 4, "depth": 3, "patch": 2, "image_size": 64}  # before there were encoders
    assert rebuild_unet(former).description == "U-Net of width 4 and depth 3"
