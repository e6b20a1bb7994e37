"""PPO's clipped surrogate for one-step episodes, exact over classes or sampled (Schulman et al. 2017; METHOD 4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LARGEST = 80.0  # log of the largest ratio that is told from a larger one: e^89 is infinite in float32


def _range(clip: float) -> tuple[float, float]:
    """Logs of the ratios between which nothing is clipped."""
    return (math.log(1 - clip) if clip < 1 else -math.inf), math.log(1 + clip)


def clipped_ratio(log_ratio: Tensor, clip: float) -> Tensor:
    """clip(ratio, 1 - clip, 1 + clip), clipped before it is exponentiated: a ratio of e^200 must not become inf * 0."""
    return log_ratio.clamp(*_range(clip)).exp()


def expected_surrogate(log_new: Tensor, log_old: Tensor, advantage: Tensor, clip: float | None) -> Tensor:
    """E_{a ~ pi_old} min(ratio A, clip(ratio) A), computed exactly: [B].

    pi_old * ratio is written as pi_new, which stays finite where the old policy's probability underflowed.

    Args:
        log_new, log_old: [B, C] log-probabilities of the policy that learns and of the one that acted.
        advantage: [B, C].
        clip: None clips nothing.
    """
    free = log_new.exp() * advantage
    if clip is None:
        return free.sum(-1)
    bounded = log_old.exp() * clipped_ratio(log_new - log_old, clip) * advantage
    return torch.minimum(free, bounded).sum(-1)


def sampled_surrogate(log_new: Tensor, log_old: Tensor, advantage: Tensor, clip: float | None) -> Tensor:
    """min(ratio A, clip(ratio) A) of the class that was sampled for each image; all [B]."""
    log_ratio = log_new - log_old
    free = log_ratio.clamp(max=LARGEST).exp() * advantage
    return free if clip is None else torch.minimum(free, clipped_ratio(log_ratio, clip) * advantage)


def score_function(log_new: Tensor, advantage: Tensor) -> Tensor:
    """log pi(a|x) A of the sampled class, [B]: its gradient is REINFORCE's (Williams 1992)."""
    return log_new * advantage


def approx_kl(log_new: Tensor, log_old: Tensor) -> Tensor:
    """E_{a ~ pi_old}[(ratio - 1) - log ratio] of each image, [B]: over all classes it is KL(pi_old || pi_new)."""
    return (log_new.exp() - log_old.exp() - log_old.exp() * (log_new - log_old)).sum(-1)


def clip_fraction(log_new: Tensor, log_old: Tensor, clip: float | None) -> Tensor:
    """Probability under pi_old of a class whose ratio lies outside 1 +- clip, [B]."""
    if clip is None:
        return torch.zeros_like(log_new[:, 0])
    lowest, highest = _range(clip)
    log_ratio = log_new - log_old
    outside = (log_ratio < lowest) | (log_ratio > highest)
    return (log_old.exp() * outside).sum(-1)
