"""BatchNorm in train mode over the images of several processes, on any device (torch's SyncBatchNorm needs a GPU)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class _Normalise(torch.autograd.Function):
    """Returns the normalised x, and mean, biased variance and count of every channel over all processes."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, counted: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, var, count = _combined(x, counted)
        if float(count) <= 1:
            raise ValueError(
                f"BatchNorm: expected more than 1 value per channel when training, got shape {list(x.shape)}"
            )
        mean, var = mean.to(x.dtype), var.to(x.dtype)
        out = torch.batch_norm(x, weight, bias, mean, var, False, 0.0, eps, False)
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps, ctx.counted = eps, counted
        ctx.mark_non_differentiable(mean, var, count)
        return out, mean, var, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, count = ctx.saved_tensors
        of_out = gradients[0]
        channels_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
        of_out = of_out.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        # In eval mode these are sum(gradient) and sum(gradient * normalised x) of this process.
        _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            of_out, x, weight, mean, var, None, None, False, ctx.eps, [False, True, True]
        )
        if not ctx.counted:
            of_weight, of_bias = torch.zeros_like(mean), torch.zeros_like(mean)
        sums = torch.stack([of_bias, of_weight])
        distributed.all_reduce(sums)
        if ctx.counted:
            mean_bias, mean_weight = (sums / count).to(x.dtype)
            inverse = (var + ctx.eps).rsqrt()
            scale = inverse if weight is None else inverse * weight
            of_x = x - _channels(mean, x)
            of_x = torch.addcmul(_channels(-scale * mean_bias, x), of_x, _channels(-scale * inverse * mean_weight, x))
            of_x.addcmul_(of_out, _channels(scale, x))
        else:  # a placeholder: the minibatch's statistics do not depend on it
            of_x = torch.zeros_like(x)
        if weight is None:
            return of_x, None, None, None, None
        return of_x, of_weight, of_bias, None, None


def _combined(x: Tensor, counted: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance [C] of the channels of all processes' x, and the number of values per channel; float64.

    From every process's own (Chan et al. 1979), which loses no digits where means are large.
    """
    own_mean, own_var = torch.batch_norm_update_stats(x, None, None, 0.0)
    own_count = float(x.numel() // x.shape[1]) if counted else 0.0
    own = torch.cat([own_mean.double(), own_var.double(), own_mean.new_tensor([own_count], dtype=torch.double)])
    every = own.new_empty(distributed.get_world_size(), len(own))
    distributed.all_gather_into_tensor(every, own[None])
    count = every[:, -1:]
    means, variances = every[:, :-1].tensor_split(2, dim=1)
    mean = (count * means).sum(0) / count.sum()
    var = (count * (variances + (means - mean).square())).sum(0) / count.sum()
    return mean, var, count.sum()


def _channels(of: Tensor, x: Tensor) -> Tensor:
    """[C] as [1, C, 1, ...], to be broadcast to x."""
    return of.view(1, -1, *[1] * (x.dim() - 2))


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running: tuple[Tensor, Tensor] | None,
    *,
    momentum: float,
    eps: float,
    counted: bool = True,
) -> Tensor:
    """BatchNorm of x [b, C, ...] in train mode, by the mean and variance over the x of all processes.

    Every process must call it, and its backward pass. The gradients of weight and bias are those of this process's part.

    Args:
        running: mean and variance [C] that are updated in place; the variance is the unbiased one.
        counted: False for a placeholder, which is normalised but changes neither the statistics nor any gradient.

    Raises:
        ValueError: there is only one value per channel in all processes.
    """
    dtype = x.dtype
    if dtype in (torch.bfloat16, torch.half):
        x = x.float()
    out, mean, var, count = _Normalise.apply(x, weight, bias, eps, counted)
    if running:
        with torch.no_grad():
            running[0].mul_(1 - momentum).add_(momentum * mean)
            running[1].mul_(1 - momentum).add_(momentum * (var * (count / (count - 1))).to(var.dtype))
    return out.to(dtype)
