"""Judges trained networks on images that none of them has seen."""

from collections.abc import Sequence

import torch
from torch import nn

from segmentation.config.fields import Count
from segmentation.data.oxford_pets import Example, read_list, read_trainval
from segmentation.data.sources import Source
from segmentation.data.splits import choose_subset, gate_of
from segmentation.errors import DataError
from segmentation.evaluation.scoring import Evaluation, evaluate
from segmentation.models.predictor import Batched, Model, OneByOne
from segmentation.models.unet import Segmenter, UNet
from segmentation.workflows.session import Splits


def unseen(source: Source, splits: Splits, count: Count) -> list[Example]:
    """Return the images of a data set on which nobody trained and by which nobody chose.

    So without train and val, which chose the epochs, and without the gate split, which chose the
    defaults of `train`.

    Args:
        source: the data set: its trainval list, and its test list where there is one.
        splits: those that are used.
        count: how many, every breed in proportion, always the same ones; or `all`.

    Raises:
        DataError: there are fewer than two.
    """
    trainval = read_trainval(source.root)
    taken = {example.id for split in splits.values() for example in split.examples}
    taken |= {example.id for example in gate_of(trainval)}
    examples = list(trainval)
    if (source.root / "annotations" / "test.txt").exists():
        examples += read_list(source.root, "test")
    left = [example for example in examples if example.id not in taken]
    if len(left) < 2:
        raise DataError(
            f"{source.root}: no images are left to judge by; lower train_images, or use more data"
        )
    return _some(left, count)


def gate_images(source: Source, count: Count) -> list[Example]:
    """Return the images by which settings are chosen: those of the gate split.

    Args:
        source: the data set.
        count: how many, as for `unseen`.

    Raises:
        DataError: there are fewer than two.
    """
    gate = gate_of(read_trainval(source.root))
    if len(gate) < 2:
        raise DataError(f"{source.root}: its gate split has no two images; use more data")
    return _some(gate, count)


def _some(examples: Sequence[Example], count: Count) -> list[Example]:
    if count == "all" or count >= len(examples):
        return list(examples)
    return choose_subset(examples, count, seed=0)


def score(
    name: str, network: nn.Module, size: int, examples: Sequence[Example], device: torch.device
) -> Evaluation:
    """Judge a network at each photo's own size, the border counted as pet.

    Args:
        name: of the network, for errors.
        network: maps float (N, 3, size, size) in [0, 255] to logits (N, 1, size, size).
        size: at which it works, in pixels.
        examples: the images; what cannot be used is left out, the same for all networks.
        device: where networks of our own kind are judged, others on the CPU.

    Raises:
        DataError: none can be used.
    """
    segmenter = Segmenter(network, size).eval()
    model: Model = (
        Batched(segmenter, device) if isinstance(network, UNet) else OneByOne(segmenter.cpu(), name)
    )
    return evaluate("benchmark", model, examples, "pet")[0]
