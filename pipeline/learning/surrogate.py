"""PPO's clipped surrogate of sampled actions (Schulman et al. 2017; docs/method.md 4), for episodes of any length."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MAX_LOG_RATIO = 80.0  # ratios are cut off at e^80, since e^89 overflows float32


def sampled_surrogate(log_new: Tensor, log_old: Tensor, advantage: Tensor, clip: float | None) -> Tensor:
    """min(ratio A, clip(ratio) A) of the action that was sampled for each image or state; all [B]."""
    log_ratio = log_new - log_old
    unclipped = log_ratio.clamp(max=MAX_LOG_RATIO).exp() * advantage
    return unclipped if clip is None else torch.minimum(unclipped, clipped_ratio(log_ratio, clip) * advantage)


def clipped_ratio(log_ratio: Tensor, clip: float) -> Tensor:
    """clip(ratio, 1 - clip, 1 + clip), clipped before it is exponentiated: a ratio of e^200 must not become inf * 0."""
    return log_ratio.clamp(*log_clip_range(clip)).exp()


def log_clip_range(clip: float) -> tuple[float, float]:
    """Logs of the smallest and largest ratio that are not clipped."""
    return (math.log(1 - clip) if clip < 1 else -math.inf), math.log(1 + clip)
