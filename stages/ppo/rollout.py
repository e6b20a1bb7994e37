"""A rollout: images, and what the policy and the frozen models made of them before the update (docs/method.md 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.learning.environment import Inputs
from stages.ppo.guards import Diverged
from stages.ppo.loss import Minibatch, Samples, penalised_reward


@dataclass(frozen=True, eq=False)
class Rollout:
    """What the update learns from.

    Attributes:
        inputs: the images [B], as `Inputs`.
        log_old, log_ref, reward: [B, C].
        samples: of estimators that sample, else None.
        baseline: [B, 1] what is subtracted from it; None: the exact expectation.
    """

    inputs: Inputs
    log_old: Tensor
    log_ref: Tensor
    reward: Tensor
    samples: Samples | None
    baseline: Tensor | None

    def samples_at(self, positions: Tensor, device: torch.device) -> Samples | None:
        """Those at `positions` [b], on a device."""
        if self.samples is None:
            return None
        return Samples(*(of[positions].to(device) for of in vars(self.samples).values()))

    def minibatch(self, positions: Tensor, log_new: Tensor, log_labelled: Tensor | None = None) -> Minibatch:
        """The images at `positions` [b], on the device of the current policy's log_new [b, C].

        Args:
            log_labelled: [m] log pi(y|x) of labelled images.
        """
        tables = (self.log_old, self.log_ref, self.reward)
        log_old, log_ref, reward = (of[positions].to(log_new.device) for of in tables)
        baseline = None if self.baseline is None else self.baseline[positions].to(log_new.device)
        return Minibatch(
            log_new=log_new,
            log_old=log_old,
            log_ref=log_ref,
            reward=reward,
            samples=self.samples_at(positions, log_new.device),
            baseline=baseline,
            log_labelled=log_labelled,
        )


def make_rollout(
    inputs: Inputs,
    log_old: Tensor,
    log_ref: Tensor,
    reward: Tensor,
    *,
    beta: float,
    random: torch.Generator,
    baseline: Literal["exact", "mean", "none"] = "exact",
    values: Tensor | None = None,
    temperature: float = 1.0,
    sampled: bool = True,
) -> Rollout:
    """Rollout of `inputs` [B] under a policy with log-probabilities `log_old` [B, C].

    Args:
        log_ref, reward: [B, C].
        beta: weight of the KL penalty in the returns.
        values: [B] of a critic; they take the baseline's place.
        temperature: of the policy that samples the actions.
        sampled: whether classes are sampled; the expected surrogate needs none.

    Raises:
        Diverged: the policy's probabilities are NaN or Inf.
    """
    if not torch.isfinite(log_old.exp()).all():
        raise Diverged("the policy's probabilities are not finite numbers")
    if not sampled:
        return Rollout(inputs, log_old, log_ref, reward, None, None)
    sampler = torch.log_softmax(log_old / temperature, -1)
    actions = torch.multinomial(sampler.exp(), 1, generator=random)
    importance = (log_old - sampler).gather(-1, actions)[:, 0].exp()
    returns = penalised_reward(log_old, log_ref, reward, beta).gather(-1, actions)[:, 0]
    subtracted = None
    if values is not None:
        subtracted = values[:, None]
    elif baseline != "exact":
        constant = (importance * returns).mean() if baseline == "mean" else torch.zeros((), dtype=returns.dtype)
        subtracted = constant.expand(len(returns), 1)
    return Rollout(inputs, log_old, log_ref, reward, Samples(actions[:, 0], importance, returns), subtracted)
