"""BatchNorm in stage two: frozen while a rollout is learned from, refreshed between rollouts.

Running statistics belong to the weights they were gathered under. PPO works in eval mode, so it moves the weights and
leaves the statistics behind: layers are normalised by what the reference's activations once were, and learning slows
to a crawl. Gathering them anew before a rollout ("precise BatchNorm", Wu and Johnson 2021) keeps what eval mode is
for: between acting and learning nothing but the gradient changes the policy, and the ratio starts at 1.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.data.feature_cache import BATCH
from pipeline.learning.environment import Inputs


@torch.no_grad()
def refresh_batchnorm(policy: nn.Module, inputs: Inputs) -> None:
    """Replace all running statistics by the mean over the rollout's images; no weight changes. Back in eval mode."""
    layers = [module for module in policy.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
        layer.train()
    parts = torch.arange(len(inputs)).tensor_split(max(1, len(inputs) // BATCH))
    for part in parts:
        policy(inputs.batch(part))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
