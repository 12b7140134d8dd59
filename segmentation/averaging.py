"""The moving average of the weights that is validated and kept."""

import torch
from torch import Tensor

_Tensors = tuple[Tensor, ...] | list[Tensor]


class MovingAverage:
    """The update of an exponential moving average that forgets fast while it is young.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage: otherwise the random first weights stay in it for many epochs. One
    update may stand for several steps, and then decays by their power.

    Attributes:
        steps: how many the average has in it; the first update copies.
        until: how many it is to have after the next update.
    """

    def __init__(self, decay: float) -> None:
        """Begin with nothing averaged; `decay` in [0, 1) is that of a step."""
        self._decay = decay
        self.steps, self.until = 0, 0

    @torch.no_grad()
    def __call__(self, averages: _Tensors, values: _Tensors, number: Tensor | int) -> None:
        """Move averages towards values, as `AveragedModel` asks; they come grouped by type."""
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - decay ** (self.until - self.steps))
        else:  # batch normalisation's counter
            torch._foreach_copy_(averages, values)
