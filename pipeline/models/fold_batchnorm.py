"""Fold BatchNorm layers of a frozen network into the convolutions before them: the same function in fewer passes."""

from __future__ import annotations

import copy

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batchnorm(network: nn.Module) -> nn.Module:
    """A copy of a network in eval mode with BatchNorm folded, wherever its input is that of one convolution alone.

    A network that cannot be traced by torch.fx, or has no such BatchNorm, is returned as it is.
    """
    try:
        traced = fx.symbolic_trace(copy.deepcopy(network).eval())
    except Exception:  # tracing runs the network's own code, which may fail in any way
        return network
    modules = dict(traced.named_modules())
    used = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    any_folded = False
    for node in list(traced.graph.nodes):
        if node.op != "call_module" or not isinstance(norm := modules[node.target], NORMS):
            continue
        before = node.args[0]
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        convolution = modules[before.target]
        if not isinstance(convolution, CONVOLUTIONS) or used.count(before.target) > 1 or used.count(node.target) > 1:
            continue  # a layer that is used twice cannot hold two foldings
        if norm.running_mean is None:  # its statistics are those of each batch
            continue
        folded = fuse_conv_bn_eval(convolution, norm)
        parent, _, leaf = str(before.target).rpartition(".")
        setattr(traced.get_submodule(parent), leaf, folded)
        modules[before.target] = folded
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
        any_folded = True
    if not any_folded:
        return network
    traced.delete_all_unused_submodules()
    traced.recompile()
    for parameter in traced.parameters():
        parameter.requires_grad_(False)
    return traced.to(memory_format=torch.channels_last)
