"""Batch normalisation over the batches of several processes at once.

S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015. PyTorch's own SyncBatchNorm needs a GPU;
here is the same for CPUs, from the same sums.
"""

import copy
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional


class _Normalized(torch.autograd.Function):
    """Normalises (N, C, H, W) by mean and variance of all processes' pixels."""

    @staticmethod
    def forward(
        ctx: Any, image: Tensor, weight: Tensor, bias: Tensor, layer: "SyncedBatchNorm2d"
    ) -> Tensor:
        """Return it normalised; the layer's running figures move."""
        pixels = image.numel() // image.shape[1]
        # In one pass, and in the type of the running figures, of which these are none.
        none = torch.zeros_like(weight)
        own = torch.cat([*torch.batch_norm_update_stats(image, none, none, 0.0), none[:1] + pixels])
        if layer.empty:
            own.zero_()
        gathered = _gather(own.double(), layer.processes)
        counts, (means, variances) = gathered[:, -1:], gathered[:, :-1].chunk(2, dim=1)
        count = counts.sum()
        parts = counts / count
        mean = (parts * means).sum(dim=0)
        variance = (parts * (variances + (means - mean) ** 2)).sum(dim=0)
        layer.move(mean, variance * (count / (count - 1)))
        mean, variance = mean.float(), variance.float()
        ctx.save_for_backward(image, weight, mean, variance)
        ctx.layer, ctx.count, ctx.empty = layer, count, layer.empty
        return functional.batch_norm(image, mean, variance, weight, bias, False, 0.0, layer.eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradients of image, weight and bias; of the latter two this process's part."""
        image, weight, mean, variance = ctx.saved_tensors
        # As for figures that stand still, which `straight` and `along` correct below.
        of_image, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient,
            image,
            weight,
            mean,
            variance,
            None,
            None,
            False,
            ctx.layer.eps,
            [True, True, True],
        )
        own = torch.cat([of_bias, of_weight])
        if ctx.empty:
            own.zero_()
        sums = _gather(own.double(), ctx.layer.processes).sum(dim=0)
        if ctx.empty:
            return torch.zeros_like(image), None, None, None
        scale = weight * (variance + ctx.layer.eps).rsqrt()
        straight, along = (-sums / ctx.count).float().mul(scale.repeat(2)).chunk(2)
        # straight + along * normalised, by the quickest operation there is for it.
        of_image += functional.batch_norm(
            image, mean, variance, along, straight, False, 0.0, ctx.layer.eps
        )
        return of_image, of_weight, of_bias, None


def _gather(own: Tensor, processes: Any) -> Tensor:
    """Return a vector of each process, (processes, length), the same in all of them.

    Whoever asked adds them up: Gloo was seen to take five times as long to reduce so few numbers.
    """
    gathered = own.new_empty((dist.get_world_size(processes), len(own)))
    dist.all_gather([*gathered], own, group=processes)
    return gathered


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """`BatchNorm2d` that in training normalises over the batches of all processes of a group.

    Attributes:
        processes: the group. Of the class, since layers are copied and a group cannot be.
        empty: whether this process has no part in the batch: what it is given counts nowhere.
    """

    processes: Any = None
    empty = False

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Module's name
        """Normalise (N, C, H, W)."""
        if not self.training:
            return super().forward(input)
        return cast(Tensor, _Normalized.apply(input, self.weight, self.bias, self))

    @torch.no_grad()
    def move(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running figures towards those of a batch, as `BatchNorm2d` does."""
        momentum = cast(float, self.momentum)
        for name, value in (("running_mean", mean), ("running_var", variance)):
            running = self.get_buffer(name)
            running.lerp_(value.to(running.dtype), momentum)
        self.get_buffer("num_batches_tracked").add_(1)


def synchronized(model: nn.Module, processes: Any) -> nn.Module:
    """Return a copy of a model whose batch normalisation is over all processes of a group.

    Args:
        model: with `BatchNorm2d`.
        processes: as `torch.distributed.new_group` returns them.
    """
    model = copy.deepcopy(model)
    if next(model.parameters()).is_cuda:
        # It does not leave out an empty share: of a last batch that has fewer images than there
        # are processes, the image that stands for nothing is normalised over too.
        convert = cast(Any, nn.SyncBatchNorm.convert_sync_batchnorm)
        return cast(nn.Module, convert(model))
    SyncedBatchNorm2d.processes = processes
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.__class__ = SyncedBatchNorm2d
    return model
