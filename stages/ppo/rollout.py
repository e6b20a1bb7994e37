"""A rollout: images, what the policy made of them before the update, and the advantages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.learning.environment import Inputs


class Diverged(Exception):
    """The policy cannot be gone on with; says why."""


def penalised_reward(log_pi: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """R = r~ - beta (log pi - log pi_ref), [B, C], as numbers without a gradient.

    The penalty is k1 inside the reward of each class, whose gradient is that of the exact KL(pi || pi_ref). (The exact
    KL of the image inside the reward would not depend on the class: the baseline would take all of it away.)
    """
    return reward - beta * (log_pi.detach() - log_ref)


def exact_baseline(log_pi: Tensor, penalised: Tensor) -> Tensor:
    """sum_a pi(a|x) R(x, a), [B, 1]: classes can be enumerated, so no critic is needed."""
    return (log_pi.detach().exp() * penalised).sum(-1, keepdim=True)


@dataclass(frozen=True, eq=False)
class Rollout:
    """What the update learns from.

    Attributes:
        inputs: the images [B], as `Inputs`.
        log_old, log_ref, reward: [B, C].
        beta: weight of the penalty.
        actions: [B], sampled from pi_old^(1/temperature).
        weight: [B], pi_old / the policy that sampled, of the action: 1 at temperature 1.
        returns: [B], penalised reward of the action: what a critic learns to predict.
        baseline: [B, 1] what is subtracted from it; None: the exact expectation.
    """

    inputs: Inputs
    log_old: Tensor
    log_ref: Tensor
    reward: Tensor
    beta: float
    actions: Tensor
    weight: Tensor
    returns: Tensor
    baseline: Tensor | None

    def advantage(self, log_pi: Tensor, part: Tensor) -> Tensor:
        """A = R - b [b, C] of every class, for images at positions `part`, under a policy log_pi [b, C]."""
        log_ref, reward = self.log_ref[part].to(log_pi.device), self.reward[part].to(log_pi.device)
        penalised = penalised_reward(log_pi, log_ref, reward, self.beta)
        if self.baseline is None:
            return penalised - exact_baseline(log_pi, penalised)
        return penalised - self.baseline[part].to(log_pi.device)


def make_rollout(
    inputs: Inputs,
    log_old: Tensor,
    log_ref: Tensor,
    reward: Tensor,
    beta: float,
    random: torch.Generator,
    baseline: Literal["exact", "mean", "none"] = "exact",
    values: Tensor | None = None,
    temperature: float = 1.0,
) -> Rollout:
    """Rollout of `inputs` [B] under a policy with log-probabilities `log_old` [B, C].

    Args:
        values: [B] of a critic; they take the baseline's place.
        temperature: of the policy that samples the actions.

    Raises:
        Diverged: the policy's probabilities are no numbers.
    """
    if not torch.isfinite(log_old.exp()).all():
        raise Diverged("the policy's probabilities are not finite numbers")
    acting = torch.log_softmax(log_old / temperature, -1)
    actions = torch.multinomial(acting.exp(), 1, generator=random)
    weight = (log_old - acting).gather(-1, actions)[:, 0].exp()
    returns = penalised_reward(log_old, log_ref, reward, beta).gather(-1, actions)[:, 0]
    subtracted = None
    if values is not None:
        subtracted = values[:, None]
    elif baseline != "exact":
        constant = (weight * returns).mean() if baseline == "mean" else torch.zeros((), dtype=returns.dtype)
        subtracted = constant.expand(len(returns), 1)
    return Rollout(inputs, log_old, log_ref, reward, beta, actions[:, 0], weight, returns, subtracted)
