"""Who is trained beside ours, and how; imports nothing heavy, so that names are checked at once."""

import dataclasses
import importlib.util
from collections.abc import Iterable

from segmentation.errors import ConfigError

HOW_TO_INSTALL = "pip install .[benchmark]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Peer:
    """Another network, or another way to train one.

    Attributes:
        name: as users and metrics call it.
        network: `script` (a U-Net of width 64 and depth 4), `smp` or `monai`.
        package: what must be installed for it; empty for none.
        precision: `fp32` or `bf16`.
        lr: peak of the one-cycle; of recipe `script` the constant rate.
        recipe: `script` (float32, contiguous tensors, files decoded anew each epoch, flips, Adam at
            a constant rate) or `ours` (our decoded and augmented batches, channels last, AdamW,
            one-cycle over the time there is, the weights of the epoch with the best validation
            Dice; what the script keeps is its last).
    """

    name: str
    network: str
    package: str = ""
    precision: str
    lr: float
    recipe: str = "ours"

    def at(self, lr: float) -> "Peer":
        """Return the same one at another learning rate, which its name then tells."""
        return dataclasses.replace(self, name=f"{self.name}_lr{lr:g}", lr=lr)


#: The learning rates of those that train on our batches are the best that a search in bf16 found
#: on the gate images: `-P suite=peers -P peer_lrs=1e-3,2e-3,4e-3,8e-3`; MONAI's is one of two that
#: were equal within the noise. The README's Measurements have its figures.
PEERS = (
    Peer(name="script", network="script", precision="fp32", lr=1e-3, recipe="script"),
    Peer(name="script_bf16", network="script", precision="bf16", lr=4e-3),
    Peer(
        name="smp_fp32",
        network="smp",
        package="segmentation_models_pytorch",
        precision="fp32",
        lr=1e-3,
    ),
    Peer(
        name="smp_bf16",
        network="smp",
        package="segmentation_models_pytorch",
        precision="bf16",
        lr=1e-3,
    ),
    Peer(name="monai_fp32", network="monai", package="monai", precision="fp32", lr=4e-3),
    Peer(name="monai_bf16", network="monai", package="monai", precision="bf16", lr=4e-3),
)

#: The encoder of smp halves an image so often that its side must be a multiple of this.
SMP_MULTIPLE = 32


def missing(peers: Iterable[Peer] = PEERS) -> list[str]:
    """Return the packages that these peers need and that are not installed."""
    packages = dict.fromkeys(peer.package for peer in peers if peer.package)
    return [package for package in packages if importlib.util.find_spec(package) is None]


def choose(text: str, image_size: int) -> tuple[Peer, ...]:
    """Return the peers that a user named, or with `auto` those whose packages are installed.

    Args:
        text: `auto`, or names separated by commas.
        image_size: height and width, in pixels, at which all networks work.

    Raises:
        ConfigError: a name is unknown, a package is not installed, or a network cannot work at
            that size.
    """
    if text == "auto":
        away = missing()
        chosen = [peer for peer in PEERS if peer.package not in away]
    else:
        names = [name.strip() for name in text.split(",")]
        unknown = sorted(set(names) - {peer.name for peer in PEERS})
        if unknown:
            known = ", ".join(peer.name for peer in PEERS)
            raise ConfigError(f"peers={text}: expected auto or some of {known}")
        chosen = [peer for peer in PEERS if peer.name in names]
        if away := missing(chosen):
            raise ConfigError(
                f"peers={text}: {' and '.join(away)} not installed; `{HOW_TO_INSTALL}` gets them"
            )
    if image_size % SMP_MULTIPLE and any(peer.network == "smp" for peer in chosen):
        raise ConfigError(
            f"image_size={image_size}: the peers of segmentation_models_pytorch need a multiple of "
            f"{SMP_MULTIPLE}; choose one, or name other peers"
        )
    return tuple(chosen)
