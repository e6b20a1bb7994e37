"""Cut a network by its modules, without tracing it: for networks whose forward pass torch.fx cannot follow.

`head` cuts before the last linear layer. `last_block` cuts before the last member of the list of blocks that holds most of
the parameters: transformer layers, or the stages of a convolutional network. The prefix runs the network until that block
is reached. The suffix runs it with the outputs of everything before the block replaced by recorded ones, and gives the
block the prefix's output.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.base import Trainable
from pipeline.errors import UserError


def module_cut(network: nn.Module, trainable: Trainable, size: int) -> tuple[nn.Module, nn.Module]:
    """Prefix and suffix of a network, which share its parameters.

    Args:
        network: maps images [B, 3, H, W] to logits; its last `nn.Linear` outputs the logits.
        trainable: `head` or `last_block`.
        size: side of the images in pixels.

    Raises:
        UserError: it has no list of blocks that are run one after the other, or a connection around the last one.
    """
    if trainable == "head":
        path, head = [(name, one) for name, one in network.named_modules() if isinstance(one, nn.Linear)][-1]
        return replaced(network, {path: nn.Identity()}), head
    prefix, suffix = _before_last_block(network), _last_block_on(network, size)
    _check(network, prefix, suffix, size)
    return prefix, suffix


@torch.no_grad()
def _check(network: nn.Module, prefix: nn.Module, suffix: nn.Module, size: int) -> None:
    """Compare both pieces with the network on two images of noise: a connection around the last block would be lost."""
    device = next(network.parameters()).device
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    if not torch.allclose(suffix(prefix(images)), network(images), rtol=1e-4, atol=1e-4):
        raise UserError(
            f"model.trainable: {type(network).__name__} has connections around its last block; use head, lora or all"
        )


def replaced(network: nn.Module, modules: dict[str, nn.Module]) -> nn.Module:
    """A network with other modules at some dotted paths; it shares all others and their parameters."""
    copied = _shallow(network)
    for path, module in modules.items():
        *parents, leaf = path.split(".")
        at = copied
        for name in parents:
            at._modules[name] = _shallow(at.get_submodule(name))
            at = at.get_submodule(name)
        at._modules[leaf] = module
    return copied


def _shallow(module: nn.Module) -> nn.Module:
    """A copy with its own table of sub-modules, which are shared."""
    own = copy.copy(module)
    own.__dict__["_modules"] = module._modules.copy()
    return own


class _Reached(Exception):
    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


class _InPlaceOf(nn.Module):
    """A module that has the attributes of another one, which networks may read."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.__dict__["original"] = module  # not a sub-module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["original"], name)


class _Stop(_InPlaceOf):
    """In place of the last block: ends the forward pass with the block's input."""

    def forward(self, features: Tensor, *_args: Any, **_more: Any) -> Tensor:
        raise _Reached(features)


class Prefix(nn.Module):
    """A network up to its last block."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] to the input of the last block."""
        try:
            self.network(images)
        except _Reached as end:
            return end.features
        raise RuntimeError("the last block was not reached")


class _Recorded(_InPlaceOf):
    """In place of a module before the last block: what it returned for one image, for every image of a batch."""

    def __init__(self, module: nn.Module, output: Any, batch: Callable[[], int]) -> None:
        super().__init__(module)
        self.output, self.batch = output, batch

    def forward(self, *_args: Any, **_more: Any) -> Any:
        return _for_batch(self.output, self.batch())


def _for_batch(output: Any, batch: int) -> Any:
    if isinstance(
        output, Tensor
    ):  # of one image; other tensors, such as position embeddings, are the same for any batch
        return output.expand(batch, *output.shape[1:]) if output.dim() and len(output) == 1 else output
    if isinstance(output, tuple):
        return tuple(_for_batch(one, batch) for one in output)
    return output


class _Given(_InPlaceOf):
    """The last block, on features that are given to it beforehand instead of what the network passes."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__(block)
        self.block = block
        self.features: Tensor | None = None

    def forward(self, _features: Tensor, *args: Any, **more: Any) -> Any:
        return self.block(self.features, *args, **more)


class Suffix(nn.Module):
    """A network from its last block on."""

    def __init__(self, network: nn.Module, given: _Given, image: Tensor) -> None:
        super().__init__()
        self.network = network
        self._given = [given]  # in a list: it is a part of the network already
        self.register_buffer("image", image, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """The output of `Prefix` to logits [B, C]."""
        (given,) = self._given
        given.features = features
        try:
            images = self.get_buffer("image").expand(len(features), -1, -1, -1)
            return self.network(images)
        finally:
            given.features = None


def _block_list(network: nn.Module) -> str:
    """Dotted path of the list of blocks with most parameters."""
    lists = {
        name: sum(p.numel() for p in module.parameters())
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList | nn.Sequential)
        and len(module) > 1
        and len({type(one) for one in module}) == 1
    }
    if not lists:
        raise UserError(
            f"model.trainable: {type(network).__name__} has no list of blocks to cut before its last one; use head or all"
        )
    return max(lists, key=lambda name: lists[name])


def _before_last_block(network: nn.Module) -> nn.Module:
    path = _block_list(network)
    blocks = dict(network.get_submodule(path).named_children())
    *_, last = blocks
    return Prefix(replaced(network, {f"{path}.{last}": _Stop(blocks[last])}))


@torch.no_grad()
def _last_block_on(network: nn.Module, size: int) -> nn.Module:
    path = _block_list(network)
    blocks = dict(network.get_submodule(path).named_children())
    *_, last = blocks
    given = _Given(blocks[last])
    outputs, image = _outputs_before(network, path, size)

    def batch() -> int:
        assert given.features is not None
        return len(given.features)

    modules: dict[str, nn.Module] = {
        at: _Recorded(network.get_submodule(at), output, batch) for at, output in outputs.items()
    }
    return Suffix(replaced(network, {**modules, f"{path}.{last}": given}), given, image)


def _outputs_before(network: nn.Module, path: str, size: int) -> tuple[dict[str, Any], Tensor]:
    """What the modules with parameters before the last block return for an image of zeros, by path; and the image.

    The modules are the other blocks, and the siblings of the list and of what contains it.
    """
    parts = path.split(".")
    parents = [".".join(parts[:depth]) for depth in range(len(parts) + 1)]
    siblings = {
        ".".join(filter(None, (parent, name))): module
        for parent in parents
        for name, module in network.get_submodule(parent).named_children()
        if ".".join(filter(None, (parent, name))) not in parents and any(True for _ in module.parameters())
    }
    outputs: dict[str, Any] = {}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, at=at: outputs.update({at: output}))
        for at, module in siblings.items()
    ]
    device = next(network.parameters()).device
    image = torch.zeros(1, 3, size, size, device=device)
    prefix = _before_last_block(network)
    try:
        prefix(image)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs, image
