"""PPO's clipped surrogate for one-step episodes, exact over classes or sampled (Schulman et al. 2017; METHOD 4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def clipped_ratio(log_ratio: Tensor, clip: float) -> Tensor:
    """clip(ratio, 1 - clip, 1 + clip), clipped before it is exponentiated: a ratio of e^200 must not become inf * 0."""
    lowest = math.log(1 - clip) if clip < 1 else -math.inf
    return log_ratio.clamp(lowest, math.log(1 + clip)).exp()


def expected_surrogate(log_new: Tensor, log_old: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """E_{a ~ pi_old} min(ratio A, clip(ratio) A), computed exactly: [B].

    pi_old * ratio is written as pi_new, which stays finite where the old policy's probability underflowed.

    Args:
        log_new, log_old: [B, C] log-probabilities of the policy that learns and of the one that acted.
        advantage: [B, C].
    """
    free = log_new.exp() * advantage
    bounded = log_old.exp() * clipped_ratio(log_new - log_old, clip) * advantage
    return torch.minimum(free, bounded).sum(-1)


def sampled_surrogate(log_new: Tensor, log_old: Tensor, actions: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """min(ratio A, clip(ratio) A) of the sampled class of each image: [B].

    Args:
        log_new, log_old: [B, C].
        actions: [B] sampled classes.
        advantage: [B, C]; only the sampled class's is looked at.
    """
    chosen = actions[:, None]
    log_ratio = (log_new - log_old).gather(-1, chosen)[:, 0]
    taken = advantage.gather(-1, chosen)[:, 0]
    return torch.minimum(log_ratio.exp() * taken, clipped_ratio(log_ratio, clip) * taken)


def approx_kl(log_new: Tensor, log_old: Tensor) -> Tensor:
    """E_{a ~ pi_old}[(ratio - 1) - log ratio] of each image, [B]: over all classes it is KL(pi_old || pi_new)."""
    return (log_new.exp() - log_old.exp() - log_old.exp() * (log_new - log_old)).sum(-1)


def clip_fraction(log_new: Tensor, log_old: Tensor, clip: float) -> Tensor:
    """Probability under pi_old of a class whose ratio lies outside 1 +- clip, [B]."""
    log_ratio = log_new - log_old
    lowest = math.log(1 - clip) if clip < 1 else -math.inf
    outside = (log_ratio < lowest) | (log_ratio > math.log(1 + clip))
    return (log_old.exp() * outside).sum(-1)
