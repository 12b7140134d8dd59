"""Many photos of any size through one model: the network in batches, threads side by side."""

import contextlib
import copy
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segmentation.errors import ModelError, first_line
from segmentation.models.folding import folded
from segmentation.models.unet import Segmenter, probability_of, resize_image

Photo = NDArray[np.uint8]
Probability = NDArray[np.float32]

#: Photos that go through a network at once.
BATCH = 4


class Model(Protocol):
    """Gives the probability of pet for photos of any size."""

    device: torch.device

    def __call__(self, photos: Iterable[Photo]) -> Iterator[Probability]:
        """Map photos, uint8 (H, W, 3) RGB each, to float32 (H, W) each, in [0, 1].

        Photos are drawn as they are needed and not kept, so of large ones few are in memory.
        """


class Batched:
    """A copy of a network in eval mode: photos are resized to its size, then all go at once."""

    def __init__(self, segmenter: Segmenter, device: torch.device) -> None:
        self._size, self.device = segmenter.image_size, device
        network = copy.deepcopy(segmenter.network).to(device)
        pixels = torch.linspace(0, 255, 3 * self._size**2, device=device)
        short = folded(network, pixels.view(1, 3, self._size, self._size))
        self._network = short.to(memory_format=torch.channels_last)

    def __call__(self, photos: Iterable[Photo]) -> Iterator[Probability]:
        small, sizes = [], []
        for photo in photos:
            sizes.append(photo.shape[:2])
            with torch.inference_mode():  # which must not be left on where a generator yields
                small.append(resize_image(_tensor(photo).to(self.device), self._size))
        if not small:
            return
        with torch.inference_mode():
            batch = torch.cat(small).contiguous(memory_format=torch.channels_last)
            logits = self._network(batch)
        for one, size in zip(logits, sizes, strict=True):
            with torch.inference_mode():
                probability = probability_of(one[None], *size)[0, 0].cpu().numpy()
            yield probability


class OneByOne:
    """Any model, such as an export; raises ModelError where it gives no probabilities.

    The function maps uint8 (1, 3, H, W) to float32 (1, 1, H, W), on the CPU.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        self._function, self._name = function, name
        self.device = torch.device("cpu")

    def __call__(self, photos: Iterable[Photo]) -> Iterator[Probability]:
        for photo in photos:
            yield self._checked(self._answer(photo), photo)

    @torch.inference_mode()
    def _answer(self, photo: Photo) -> Tensor:
        try:
            return self._function(_tensor(photo))
        except Exception as error:  # a model from elsewhere may raise anything
            raise ModelError(
                f"{self._name}: fails on a photo of {photo.shape[1]} x {photo.shape[0]} pixels "
                f"({type(error).__name__}: {first_line(error)})"
            ) from error

    def _checked(self, answer: Tensor, photo: Photo) -> Probability:
        expected = (1, 1, *photo.shape[:2])
        if tuple(answer.shape) != expected:
            raise ModelError(
                f"{self._name}: answers {tuple(answer.shape)} to a photo of {photo.shape[1]} x "
                f"{photo.shape[0]} pixels; expected {expected}, a probability for each pixel"
            )
        probability = answer[0, 0].float().numpy()
        if not (probability.min() >= 0 and probability.max() <= 1):  # false for NaN as well
            raise ModelError(
                f"{self._name}: answers values from {probability.min():g} to "
                f"{probability.max():g}; expected probabilities, 0 to 1 (not logits)"
            )
        return probability


def same_answers(first: Model, second: Model, tolerance: float = 1e-4) -> bool:
    """Tell whether two models agree on noise of two odd sizes, up to `tolerance`."""
    random = np.random.default_rng(2)
    photos = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((301, 457), (97, 64))]
    pairs = zip(first(photos), second(photos), strict=True)
    return all(float(np.abs(one - other).max()) <= tolerance for one, other in pairs)


def workers_for(device: torch.device) -> int:
    """Return how many threads keep a device busy: on a CPU one a core that this process uses."""
    return torch.get_num_threads() if device.type == "cpu" else min(8, os.cpu_count() or 1)


@contextlib.contextmanager
def one_thread_each() -> Iterator[Callable[[], None]]:
    """Yield what each of several worker threads calls first: PyTorch then gives it one core.

    Several threads with a core each waste nothing on waiting for one another, as the threads
    within an operator do, and none of it while a photo is decoded or encoded.
    """
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn
    # TF32 would make a GPU's figures differ from those that others get from the same model. The
    # flag is the process's, so it is set here, once, and not by each thread.
    tf32, cudnn.allow_tf32 = cudnn.allow_tf32, False
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        cudnn.allow_tf32 = tf32
        torch.set_num_threads(threads)  # what a thread sets counts for threads that begin later


def _tensor(photo: Photo) -> Tensor:
    return torch.from_numpy(photo).permute(2, 0, 1)[None]
