"""The moving average of the weights that is validated and kept."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


class EMA:
    """An exponential moving average of a model's weights that forgets fast while it is young.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage: otherwise the random first weights stay in it for many epochs. One
    update may stand for several steps, and then decays by their power. Buffers are averaged too.

    PyTorch's AveragedModel would look for the weights and sort them at each update, which takes
    thrice as long as to average those of a small network.

    Attributes:
        module: the model with the averaged weights.
        steps: how many the average has in it; the first update copies.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with nothing averaged.

        Args:
            model: whose weights will be; they stay where they are in memory.
            decay: that of a step, in [0, 1).
        """
        self.module = copy.deepcopy(model)
        self.steps = 0
        self._decay = decay
        own, theirs = self.module.state_dict(), model.state_dict()

        def both(wanted: Callable[[Tensor], bool]) -> tuple[list[Tensor], list[Tensor]]:
            names = [name for name, tensor in theirs.items() if wanted(tensor)]
            return [own[name] for name in names], [theirs[name] for name in names]

        self._averaged = both(torch.is_floating_point)
        # Batch normalisation's counters.
        self._copied = both(lambda tensor: not tensor.is_floating_point())

    @torch.no_grad()
    def update(self, steps: int) -> None:
        """Take the weights into the average, which then has so many steps in it."""
        averages, values = self._averaged
        if self.steps:
            decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(averages, values, 1 - decay ** (steps - self.steps))
        else:
            torch._foreach_copy_(averages, values)
        if self._copied[0]:
            torch._foreach_copy_(*self._copied)
        self.steps = steps
