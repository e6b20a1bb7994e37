"""A rollout: images, and what the policy and the frozen models made of them before the update (docs/method.md 4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

    def on(self, device: torch.device) -> Rollout:
        """The same with its tables on a device: a minibatch is then picked from them without a copy from the host."""
        tables = {name: getattr(self, name).to(device) for name in ("log_old", "log_ref", "reward")}
        samples = Samples(*(of.to(device) for of in vars(self.samples).values())) if self.samples else None
        baseline = None if self.baseline is None else self.baseline.to(device)
        return replace(self, **tables, samples=samples, baseline=baseline)

    def samples_at(self, positions: Tensor) -> Samples | None:
        """Those at `positions` [b]."""
        return Samples(*(of[positions] for of in vars(self.samples).values())) if self.samples else None

    def minibatch(self, positions: Tensor, log_new: Tensor, log_labelled: Tensor | None = None) -> Minibatch:
        """The images at `positions` [b].

        Args:
            log_new: [b, C] of the current policy.
            log_labelled: [m] log pi(y|x) of labelled images.
        """
        at = positions.to(self.log_old.device)
        return Minibatch(
            log_new=log_new,
            log_old=self.log_old[at],
            log_ref=self.log_ref[at],
            reward=self.reward[at],
            samples=self.samples_at(at),
            baseline=None if self.baseline is None else self.baseline[at],
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
