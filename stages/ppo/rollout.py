"""A rollout: images, what the policy made of them before the update, and the advantages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.environment import Inputs


@dataclass(frozen=True, eq=False)
class Rollout:
    """What the update learns from.

    Attributes:
        inputs: the images [B], as `Inputs`.
        log_old, log_ref, reward, advantage: [B, C].
        actions: [B], sampled from pi_old^(1/temperature).
        weight: [B], pi_old / the policy that sampled, of the action: 1 at temperature 1.
        returns: [B], penalised reward of the action: what a critic learns to predict.
        beta_in_loss: weight of the exact KL to the reference in the loss; 0 where the penalty stands in the reward.
    """

    inputs: Inputs
    log_old: Tensor
    log_ref: Tensor
    reward: Tensor
    advantage: Tensor
    actions: Tensor
    weight: Tensor
    returns: Tensor
    beta_in_loss: float = 0.0


def penalised_reward(log_old: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """R = r~ - beta (log pi_old - log pi_ref), [B, C].

    The penalty is k1 inside the reward of each class, whose gradient is that of the exact KL(pi || pi_ref). (The exact
    KL of the image inside the reward would not depend on the class: the baseline would take all of it away.)
    """
    return reward - beta * (log_old - log_ref)


def exact_baseline(log_old: Tensor, penalised: Tensor) -> Tensor:
    """sum_a pi_old(a|x) R(x, a), [B, 1]: classes can be enumerated, so no critic is needed."""
    return (log_old.exp() * penalised).sum(-1, keepdim=True)


def make_rollout(
    inputs: Inputs, log_old: Tensor, log_ref: Tensor, reward: Tensor, beta: float, random: torch.Generator,
    baseline: Literal["exact", "mean", "none"] = "exact", values: Tensor | None = None, temperature: float = 1.0,
    penalty_in_loss: bool = False,
) -> Rollout:  # fmt: skip
    """Rollout of `inputs` [B] under a policy with log-probabilities `log_old` [B, C].

    Args:
        values: [B] of a critic; they take the baseline's place.
        temperature: of the policy that samples the actions.
        penalty_in_loss: the KL to the reference is not in the reward but left to the loss.
    """
    acting = torch.log_softmax(log_old / temperature, -1)
    actions = torch.multinomial(acting.exp(), 1, generator=random)
    weight = (log_old - acting).gather(-1, actions)[:, 0].exp()
    in_loss = beta if penalty_in_loss else 0.0
    penalised = penalised_reward(log_old, log_ref, reward, beta - in_loss)
    returns = penalised.gather(-1, actions)[:, 0]
    if values is not None:
        subtracted = values[:, None]
    elif baseline == "exact":
        subtracted = exact_baseline(log_old, penalised)
    else:
        subtracted = (weight * returns).mean() if baseline == "mean" else torch.zeros(())
    return Rollout(inputs, log_old, log_ref, reward, penalised - subtracted, actions[:, 0], weight, returns, in_loss)
