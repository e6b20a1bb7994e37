"""Shares of a minibatch for several processes, outputs gathered from all of them, and how the loss of a process shows."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Texts in the errors of collective operations whose other processes have ended or do not answer.
_LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "ProcessGroup", "Timed out waiting")


@dataclass(frozen=True, eq=False)
class Share:
    """One process's part of a minibatch, never empty, so that all processes run the same operations.

    Attributes:
        positions: [b >= 1] positions in the minibatch, consecutive.
        sizes: of all processes' parts, in order.
        rank: of this process.
    """

    positions: Tensor
    sizes: tuple[int, ...]
    rank: int = 0

    @property
    def size(self) -> int:
        """Images of the whole minibatch."""
        return sum(self.sizes)

    @property
    def empty(self) -> bool:
        """Whether the part is empty, and `positions` a placeholder that does not count."""
        return not self.sizes[self.rank]


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, share: Share) -> Tensor:
        ctx.share, ctx.shape = share, own.shape
        count, largest, world = share.sizes[share.rank], max(share.sizes), len(share.sizes)
        sent = own.new_zeros(largest, *own.shape[1:]).contiguous()
        sent[:count] = own[:count]
        received = own.new_empty(world * largest, *own.shape[1:])
        torch.distributed.all_gather_into_tensor(received, sent)
        parts = received.split(largest)
        return torch.cat([part[:size] for part, size in zip(parts, share.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        share: Share = ctx.share
        begin, count = sum(share.sizes[: share.rank]), share.sizes[share.rank]
        own = gradients[0].new_zeros(ctx.shape)
        own[:count] = gradients[0][begin : begin + count] * len(share.sizes)  # the parameters' are averaged
        return own, None


def gather_rows(own: Tensor, share: Share) -> Tensor:
    """Outputs [size, ...] of a whole minibatch, in order, from this process's [b, ...]; see `Runtime.gather`."""
    return _GatherRows.apply(own, share)


def distributed_data_parallel(module: nn.Module) -> nn.Module:
    """The module with gradients averaged over processes; buffers stay each process's own, since they are the same."""
    wrapper = torch.nn.parallel.DistributedDataParallel
    name = "forward_sync_buffers"  # of newer versions, which warn of the other
    if name not in inspect.signature(wrapper.__init__).parameters:
        name = "broadcast_buffers"
    return wrapper(module, **{name: False})  # type: ignore[arg-type]


def lost_process(error: BaseException) -> bool:
    """Whether an error says that another process of the group ended, or did not answer in time."""
    if isinstance(error, torch.distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _LOST)
