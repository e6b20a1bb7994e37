"""A rollout: images, what the policy made of them before the update, and the advantages of every class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.features import Features


@dataclass(frozen=True, eq=False)
class Inputs:
    """The images of a rollout: rows of the table, or views of them that were drawn for this rollout.

    A view is drawn once and kept, so that every epoch sees what the policy acted on and the ratio starts at 1.
    """

    features: Features
    rows: Tensor
    views: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, part: Tensor) -> Tensor:
        """Features of the images at positions `part` of the rollout."""
        if self.views is None:
            return self.features.batch(self.rows[part])
        return self.features.encode(self.views[part])


@dataclass(frozen=True, eq=False)
class Rollout:
    """What the update learns from.

    Attributes:
        inputs: the images [B], as `Inputs`.
        log_old, log_ref, reward, advantage: [B, C].
        actions: [B], sampled from pi_old.
    """

    inputs: Inputs
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


def make_rollout(
    inputs: Inputs, log_old: Tensor, log_ref: Tensor, reward: Tensor, beta: float, random: torch.Generator
) -> Rollout:
    """Rollout of `inputs` [B] under a policy with log-probabilities `log_old` [B, C]."""
    actions = torch.multinomial(log_old.exp(), 1, generator=random)[:, 0]
    return Rollout(inputs, log_old, log_ref, reward, advantages(log_old, log_ref, reward, beta), actions)
