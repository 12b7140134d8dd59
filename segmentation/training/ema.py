"""The moving average of the weights, which is validated and kept."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel


def changes(tensor: Tensor) -> bool:
    """Tell whether training changes a weight or buffer."""
    return tensor.requires_grad or not isinstance(tensor, nn.Parameter)


class EMA(AveragedModel):
    """An exponential moving average of weights and buffers that forgets fast while it is young.

    The decay of step n is min(decay, (1 + n) / (10 + n)), as in TensorFlow's
    ExponentialMovingAverage: otherwise the random first weights stay in it for many epochs.
    `module` is the average, and begins as a copy of the model.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, multi_avg_fn=self._average, use_buffers=True)
        self._decay, self._steps, self._share = decay, 0, 1.0
        for own, other in zip(self.module.parameters(), model.parameters(), strict=True):
            if not changes(other):  # its average is itself
                own.data = other.data

    def update(self, model: nn.Module, steps: int) -> None:
        """Take the weights in, once for so many steps since the last time: decay to that power.

        The first time copies them.
        """
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._share = 1 - decay**steps
        self._steps += steps
        self.update_parameters(model)

    def _average(self, averages: PARAM_LIST, values: PARAM_LIST, _updates: Any) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, self._share)
        else:  # batch normalization's counters
            torch._foreach_copy_(averages, values)

    def get_extra_state(self) -> int:
        """Have `state_dict` hold the number of steps, on which the decay depends."""
        return self._steps

    def set_extra_state(self, state: int) -> None:
        self._steps = state
