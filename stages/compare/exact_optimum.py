"""Policies that need no training: log-probabilities [N, C] computed from the reward and the reference (docs/method.md 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.learning.objective import kl

MAX_DRAWS = 4096  # largest n in the search for the best-of-n whose KL to the reference is that of pi*


def best_of_n(log_ref: Tensor, reward: Tensor, n: int) -> Tensor:
    """log-probabilities of the best, by reward, of n classes drawn from the reference; exactly.

    With classes in order of reward and F the reference's cumulative probability, P(a) = F(a)^n - F(a-)^n. A probability
    that underflows is 0, its logarithm -inf.
    """
    order = reward.argsort(-1)
    probability = log_ref.double().exp().gather(-1, order)
    cumulative = probability.cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]
    below = torch.cat([torch.zeros_like(cumulative[..., :1]), cumulative[..., :-1]], -1)
    # F(a)^n - F(a-)^n without cancellation where p is small: F^n (1 - (1 - p / F)^n).
    share = (probability / cumulative.clamp_min(1e-300)).clamp(max=1.0)
    policy = torch.where(
        below > 0, cumulative**n * -torch.expm1(n * torch.log1p(-share.clamp(max=1 - 1e-16))), cumulative**n
    )
    return torch.zeros_like(policy).scatter_(-1, order, policy).log()


def n_of_kl(log_ref: Tensor, reward: Tensor, nats: float) -> int:
    """The n of best-of-n whose mean KL to the reference is nearest to `nats`; it grows with n."""
    low, high = 1, MAX_DRAWS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _mean_kl(log_ref, reward, middle) < nats else (low, middle)
    return min((low, high), key=lambda n: abs(_mean_kl(log_ref, reward, n) - nats))


def _mean_kl(log_ref: Tensor, reward: Tensor, n: int) -> float:
    return float(kl(best_of_n(log_ref, reward, n), log_ref.double()).mean())


def greedy(reward: Tensor) -> Tensor:
    """Probability 1 for the class of the highest reward: log-probabilities 0 and -inf."""
    best = torch.zeros_like(reward).scatter_(-1, reward.argmax(-1, keepdim=True), 1.0)
    return best.log()
