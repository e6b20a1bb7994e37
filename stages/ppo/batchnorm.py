"""BatchNorm during PPO: statistics are frozen within a rollout and re-estimated between rollouts.

PPO works in eval mode: it changes the weights but not BatchNorm's running statistics. Activations are then normalised
by the statistics of the reference's activations, and learning slows down. Re-estimating the statistics before a
rollout ("precise BatchNorm", Wu and Johnson 2021) avoids that. Within a rollout only gradient steps change the policy,
so that the ratio still starts at 1.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.data.feature_cache import BATCH
from pipeline.learning.environment import Inputs


@torch.no_grad()
def refresh_batchnorm(policy: nn.Module, inputs: Inputs) -> None:
    """Replace all running statistics by the mean over the rollout's images; no weight changes. Back in eval mode.

    All processes must call it; each computes a share.
    """
    layers = [module for module in policy.modules() if isinstance(module, _BatchNorm)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a cumulative mean
        layer.train()
    parts, runtime = torch.arange(len(inputs)).tensor_split(max(1, len(inputs) // BATCH)), inputs.features.runtime
    for part in parts:
        share = runtime.share(len(part))
        with inputs.features.autocast(), runtime.minibatch(share):
            policy(inputs.batch(part[share.positions]))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
