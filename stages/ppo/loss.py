"""PPO's clipped surrogate for one-step episodes, exact over classes or sampled (Schulman et al. 2017; METHOD 4)."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """min(ratio A, clip(ratio, 1 - clip, 1 + clip) A), of any one shape."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def expected_surrogate(log_new: Tensor, log_old: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """E_{a ~ pi_old} of the clipped surrogate, computed exactly: [B].

    Args:
        log_new, log_old: [B, C] log-probabilities of the policy that learns and of the one that acted.
        advantage: [B, C].
    """
    ratio = (log_new - log_old).exp()
    return (log_old.exp() * clipped(ratio, advantage, clip)).sum(-1)


def sampled_surrogate(log_new: Tensor, log_old: Tensor, actions: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """The clipped surrogate of the sampled class of each image: [B].

    Args:
        log_new, log_old: [B, C].
        actions: [B] sampled classes.
        advantage: [B, C]; only the sampled class's is looked at.
    """
    chosen = actions[:, None]
    ratio = (log_new - log_old).gather(-1, chosen).exp()
    return clipped(ratio, advantage.gather(-1, chosen), clip)[:, 0]


def approx_kl(log_new: Tensor, log_old: Tensor) -> Tensor:
    """E_{a ~ pi_old}[(ratio - 1) - log ratio] of each image, [B]: for all classes at once it is KL(pi_old || pi_new)."""
    log_ratio = log_new - log_old
    return (log_old.exp() * (log_ratio.exp() - 1 - log_ratio)).sum(-1)


def clip_fraction(log_new: Tensor, log_old: Tensor, clip: float) -> Tensor:
    """Probability under pi_old of a class whose ratio lies outside 1 +- clip, [B]."""
    outside = ((log_new - log_old).exp() - 1).abs() > clip
    return (log_old.exp() * outside).sum(-1)
