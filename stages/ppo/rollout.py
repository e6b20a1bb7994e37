"""A rollout: images, what the policy made of them before the update, and the advantages of every class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rollout:
    """Attributes: rows [B]; log_old, log_ref, reward, advantage [B, C]; actions [B], sampled from pi_old."""

    rows: Tensor
    log_old: Tensor
    log_ref: Tensor
    reward: Tensor
    advantage: Tensor
    actions: Tensor


def advantages(log_old: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """A(x, a) = R(x, a) - sum_b pi_old(b|x) R(x, b), with R = r~ - beta (log pi_old - log pi_ref); all [B, C].

    The penalty is k1 inside the reward of each class, whose gradient is that of the exact KL(pi || pi_ref). (The exact
    KL of the image inside the reward would not depend on the class: the baseline would take all of it away.) The
    baseline is exact, so that no critic is needed.
    """
    penalised = reward - beta * (log_old - log_ref)
    return penalised - (log_old.exp() * penalised).sum(-1, keepdim=True)


def make_rollout(rows: Tensor, log_old: Tensor, log_ref: Tensor, reward: Tensor, beta: float, random: torch.Generator) -> Rollout:
    """Rollout of images `rows` [B] under a policy with log-probabilities `log_old` [B, C]."""
    actions = torch.multinomial(log_old.exp(), 1, generator=random)[:, 0]
    return Rollout(rows, log_old, log_ref, reward, advantages(log_old, log_ref, reward, beta), actions)
