"""How well a network in training predicts held-out judgments, which decides when it stops."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.config import RewardConfig
from stages.reward.judgment_set import JudgmentSet
from stages.reward.kl_weight import log_loss
from stages.reward.likelihood_parameters import LikelihoodParameters, mean_nll


def heldout_log_loss(
    utilities: Tensor,
    heldout: JudgmentSet,
    latent: LikelihoodParameters,
    config: RewardConfig,
    *,
    mistakes: bool,
) -> float:
    """Mean -log P of held-out judgments, in nats.

    Args:
        utilities: [U, C] of `heldout.images`.
        latent: the likelihood's parameters, as they were trained.
        mistakes: fit how often annotators are mistaken as well. A network that unlabelled images have taught is rightly sure
            of most classes; without it, the few wrong ones among few held-out answers would decide when training stops.
    """
    if not mistakes:
        return mean_nll(utilities, heldout, latent)
    parameters = LikelihoodParameters(heldout, config, mistakes=True).double()
    return float(log_loss(torch.log_softmax(utilities.double(), -1), heldout, parameters).mean())
