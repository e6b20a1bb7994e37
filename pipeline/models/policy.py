"""The policy pi(a|x): a network's [B, C] logits through a softmax."""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from pipeline.models.backbone import Split


def log_policy(logits: Tensor) -> Tensor:
    """log pi(.|x) [B, C] from logits [B, C]."""
    return torch.log_softmax(logits.float(), dim=-1)


def final_linear(network: nn.Module) -> nn.Linear:
    """The layer that outputs the logits: the last linear one."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


FLATTEN = (torch.flatten, "flatten")  # of a function call and a method call; leaves [B, D] as it is


def is_linear(suffix: nn.Module) -> bool:
    """Whether a suffix, in eval mode, is one linear layer of its input [B, D]."""
    if isinstance(suffix, fx.GraphModule):
        calls = [node for node in suffix.graph.nodes if node.op not in ("placeholder", "output")]
        if any(node.op != "call_module" and node.target not in FLATTEN for node in calls):
            return False
        layers = [suffix.get_submodule(str(node.target)) for node in calls if node.op == "call_module"]
    else:
        layers = list(suffix) if isinstance(suffix, nn.Sequential) else [suffix]
    kinds = [layer for layer in layers if not isinstance(layer, nn.Dropout | nn.Identity)]
    return len(kinds) == 1 and type(kinds[0]) is nn.Linear


def divide_logits(split: Split, temperature: float) -> None:
    """Temperature scaling (Guo et al. 2017) folded into the head: the network then outputs its logits / temperature."""
    head = final_linear(split.network)
    with torch.no_grad():
        head.weight.div_(temperature)
        head.bias.div_(temperature)
