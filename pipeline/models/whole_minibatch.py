"""Forward passes in train mode of which each process computes a share: BatchNorm and dropout as if it were all of them.

Functions are replaced rather than layers, so that every network's own layers work, whichever class they have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from pipeline.models.shared_batchnorm import batch_norm
from pipeline.run.processes import Share


class WholeMinibatch(TorchFunctionMode):
    """The context of a forward pass of the images at `share.positions`, in this order.

    BatchNorm normalises by the statistics of the whole minibatch, and keeps these. Dropout and stochastic depth draw for
    the whole minibatch, so that all processes' random streams stay the same, whatever their number.
    """

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.share = share

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        replacement = _REPLACEMENTS.get(func)
        if replacement is None:
            return func(*args, **kwargs or {})
        return replacement(self.share, func, *args, **kwargs or {})


def _batch_norm(
    share: Share,
    func: Callable[..., Tensor],
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return func(input, running_mean, running_var, weight, bias, training, momentum, eps)
    running = None if running_mean is None or running_var is None else (running_mean, running_var)
    return batch_norm(input, weight, bias, running, momentum=momentum, eps=eps, counted=not share.empty)


def _dropout(
    share: Share,
    func: Callable[..., Tensor],
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> Tensor:
    """Dropout of single values, or (dropout1d to dropout3d) of whole channels."""
    if not training or p in (0.0, 1.0):
        return func(input, p, training, inplace)
    single = func is functional.dropout
    like = input if single else input[(slice(None), slice(None), *[slice(1)] * (input.dim() - 2))]
    noise = _noise(share, like, p)
    return input.mul_(noise) if inplace else input * noise


def _noise(share: Share, like: Tensor, p: float) -> Tensor:
    """0 with probability p, else 1 / (1 - p), of the shape of `like`, drawn as torch draws it for the whole minibatch."""
    drawn = _whole(share, like).bernoulli_(1 - p).div_(1 - p)
    return drawn[share.positions.to(drawn.device)]


def _bernoulli(share: Share, func: Callable[..., Tensor], input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if not input.dim() or len(input) != len(share.positions):  # not one row per image
        return func(input, *args, **kwargs)
    drawn = func(_whole(share, input), *args, **kwargs)
    return input.copy_(drawn[share.positions.to(drawn.device)])


def _whole(share: Share, like: Tensor) -> Tensor:
    """An uninitialised tensor for the whole minibatch, in the memory layout of `like`, which decides the order of draws."""
    format_ = torch.contiguous_format
    if like.dim() == 4 and like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous():
        format_ = torch.channels_last
    return torch.empty((share.size, *like.shape[1:]), dtype=like.dtype, device=like.device, memory_format=format_)


_REPLACEMENTS: dict[Any, Callable[..., Any]] = {
    functional.batch_norm: _batch_norm,
    functional.dropout: _dropout,
    functional.dropout1d: _dropout,
    functional.dropout2d: _dropout,
    functional.dropout3d: _dropout,
    torch.Tensor.bernoulli_: _bernoulli,
}
