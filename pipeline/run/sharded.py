"""FSDP (`runtime.shard`): gradients, optimiser state and trained weights divided over the processes.

The network itself keeps whole weights, for evaluation and for files; they are renewed once per epoch or iteration.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn


class ShardedModule(nn.Module):
    """A copy of a module whose parameters are divided over the processes; it is trained instead of the module.

    Args:
        module: keeps whole weights: `collect` copies them to it, `spread` from it.
    """

    def __init__(self, module: nn.Module, device: torch.device, world: int) -> None:
        super().__init__()
        from torch.distributed.device_mesh import init_device_mesh  # slow to import, and only needed here
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (world,))
        self.divided = copy.deepcopy(module)
        for parameter in self.divided.parameters():
            parameter.data = parameter.data.contiguous()  # FSDP does not divide the channels-last layout
        for block in _blocks(self.divided):
            fully_shard(block, mesh=mesh)
        fully_shard(self.divided, mesh=mesh)
        self._whole = [module]  # in a list, so that its parameters are not this module's

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.divided(*inputs)

    @torch.no_grad()
    def collect(self) -> None:
        """Copy the present weights and buffers to the whole module. All processes must call it."""
        for own, whole in self._pairs():
            whole.copy_(_whole(own))

    @torch.no_grad()
    def spread(self) -> None:
        """Take the weights and buffers of the whole module. All processes must call it."""
        for own, whole in self._pairs():
            own.copy_(_divided(whole, own))

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        whole = self._whole[0]
        parameters = zip(self.divided.parameters(), whole.parameters(), strict=True)
        return [*parameters, *zip(self.divided.buffers(), whole.buffers(), strict=True)]


def _blocks(module: nn.Module) -> list[nn.Module]:
    """Blocks that are called one after the other, of which one is whole at a time; a traced network has none."""
    if isinstance(module, fx.GraphModule):
        return []
    rows = [of for of in module.modules() if isinstance(of, nn.Sequential | nn.ModuleList)]
    blocks = [child for row in rows for child in row if any(True for _ in child.children())]
    return [block for block in blocks if not isinstance(block, nn.Sequential | nn.ModuleList)]


def _whole(value: Any) -> Any:
    """A whole tensor of a divided one (a DTensor); anything else as it is."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def _divided(value: Tensor, like: Tensor) -> Tensor:
    """A whole value divided as a parameter is."""
    if not hasattr(like, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]


def collect(module: nn.Module) -> None:
    """After training steps on what `Runtime.prepare` returned: renew the weights of the network itself."""
    if isinstance(module, ShardedModule):
        module.collect()


def spread(module: nn.Module) -> None:
    """After changes of the network itself: renew the weights of what `Runtime.prepare` returned."""
    if isinstance(module, ShardedModule):
        module.spread()


def whole_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """`state_dict` of an optimiser with whole tensors; all processes must call it."""
    saved = optimiser.state_dict()
    state = {number: {name: _whole(value) for name, value in of.items()} for number, of in saved["state"].items()}
    return {**saved, "state": state}


def load_whole_state(optimiser: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """`load_state_dict` of what `whole_state` returned, with any number of processes."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    state = {
        number: {
            name: _divided(value, parameters[number])
            if isinstance(value, Tensor) and value.shape == parameters[number].shape
            else value
            for name, value in of.items()
        }
        for number, of in saved["state"].items()
    }
    optimiser.load_state_dict({**saved, "state": state})


def norm_of(gradient_norm: Tensor) -> float:
    """The number that `clip_grad_norm_` returned."""
    return float(_whole(gradient_norm))
