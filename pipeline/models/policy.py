"""The policy pi(a|x): a network's [B, C] logits through a softmax."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.backbone import Split


def log_policy(logits: Tensor) -> Tensor:
    """log pi(.|x) [B, C] from logits [B, C]."""
    return torch.log_softmax(logits.float(), dim=-1)


def final_linear(network: nn.Module) -> nn.Linear:
    """The layer that outputs the logits: the last linear one."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


def divide_logits(split: Split, temperature: float) -> None:
    """Temperature scaling (Guo et al. 2017) folded into the head: the network then outputs its logits / temperature."""
    head = final_linear(split.network)
    with torch.no_grad():
        head.weight.div_(temperature)
        head.bias.div_(temperature)
