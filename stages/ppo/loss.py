"""PPO's whole loss for one-step episodes, exact over classes or sampled (Schulman et al. 2017; docs/method.md 4).

`ppo_loss` reads from top to bottom; the formulas it calls, and the diagnostics of a step, follow below it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config.ppo import PPOConfig
from pipeline.learning.objective import entropy
from pipeline.learning.surrogate import clipped_ratio, log_clip_range, sampled_surrogate


@dataclass(frozen=True, eq=False)
class Samples:
    """A sampled class of each image.

    Attributes:
        actions: [B], sampled from pi_old^(1/temperature).
        importance: [B], pi_old / the policy that sampled, of the action: 1 at temperature 1.
        returns: [B], penalised reward of the action: what a critic learns to predict.
    """

    actions: Tensor
    importance: Tensor
    returns: Tensor


@dataclass(frozen=True, eq=False)
class Minibatch:
    """What the loss of one step is computed from: a whole minibatch, on one device.

    Attributes:
        log_new: [b, C] log pi of the current policy; the only one with a gradient, beside log_labelled.
        log_old: [b, C] log pi of the policy that made the rollout.
        log_ref: [b, C] log pi of the frozen reference.
        reward: [b, C] r~ of every class.
        samples: of estimators that sample, else None.
        baseline: [b, 1] what is subtracted from the penalised reward; None: its exact expectation.
        log_labelled: [m] log pi(y|x) of labelled images (PPO-ptx); None without PPO-ptx.
    """

    log_new: Tensor
    log_old: Tensor
    log_ref: Tensor
    reward: Tensor
    samples: Samples | None
    baseline: Tensor | None
    log_labelled: Tensor | None

    def __len__(self) -> int:
        return len(self.log_new)


def ppo_loss(batch: Minibatch, config: PPOConfig, beta: float) -> Tensor:
    """The scalar that one step minimises.

    Args:
        beta: weight of the KL penalty now in force.
    """
    new, old = batch.log_new, batch.log_old

    # Advantage of every class [b, C], without a gradient: reward, less the KL penalty, less a baseline.
    log_pi = new.detach() if config.penalty == "current" else old
    penalised = penalised_reward(log_pi, batch.log_ref, batch.reward, beta)
    baseline = exact_baseline(log_pi, penalised) if batch.baseline is None else batch.baseline
    advantage = penalised - baseline

    # Surrogate objective of each image [b]: ratio times advantage, clipped.
    if config.estimator == "expected":
        gain = expected_surrogate(new, old, advantage, config.clip)
    else:
        assert batch.samples is not None
        actions, importance = batch.samples.actions, batch.samples.importance
        new_a, old_a, advantage_a = (of.gather(-1, actions[:, None])[:, 0] for of in (new, old, advantage))
        if config.surrogate == "score":
            gain = importance * score_function(new_a, advantage_a)
        else:
            gain = importance * sampled_surrogate(new_a, old_a, advantage_a, config.clip)

    if config.entropy_bonus:
        gain = gain + config.entropy_bonus * entropy(new)
    loss = -gain.sum() / len(batch)  # minus: optimisers minimise
    if batch.log_labelled is not None:
        loss = loss - config.ptx * (batch.log_labelled.sum() / len(batch))
    return loss


def penalised_reward(log_pi: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """R = r~ - beta (log pi - log pi_ref), [B, C], without a gradient.

    The penalty is k1 inside the reward of each class, whose gradient is that of the exact KL(pi || pi_ref). (The exact
    KL of the image inside the reward would not depend on the class: the baseline would take all of it away.)
    """
    return reward - beta * (log_pi.detach() - log_ref)


def exact_baseline(log_pi: Tensor, penalised: Tensor) -> Tensor:
    """sum_a pi(a|x) R(x, a), [B, 1]: classes can be enumerated, so no critic is needed."""
    return (log_pi.detach().exp() * penalised).sum(-1, keepdim=True)


def expected_surrogate(log_new: Tensor, log_old: Tensor, advantage: Tensor, clip: float | None) -> Tensor:
    """E_{a ~ pi_old} min(ratio A, clip(ratio) A), computed exactly: [B].

    pi_old * ratio is written as pi_new, which stays finite where the old policy's probability underflowed.

    Args:
        log_new, log_old: [B, C] log-probabilities of the current and of the old policy.
        advantage: [B, C].
        clip: None clips nothing.
    """
    unclipped = log_new.exp() * advantage
    if clip is None:
        return unclipped.sum(-1)
    clipped = log_old.exp() * clipped_ratio(log_new - log_old, clip) * advantage
    return torch.minimum(unclipped, clipped).sum(-1)


def score_function(log_new: Tensor, advantage: Tensor) -> Tensor:
    """log pi(a|x) A of the sampled class, [B]: its gradient is REINFORCE's (Williams 1992)."""
    return log_new * advantage


def approx_kl(log_new: Tensor, log_old: Tensor) -> Tensor:
    """E_{a ~ pi_old}[(ratio - 1) - log ratio] of each image, [B]: over all classes it is KL(pi_old || pi_new)."""
    old = log_old.exp()
    return (log_new.exp() - old - old * (log_new - log_old)).sum(-1)


def clip_fraction(log_new: Tensor, log_old: Tensor, clip: float | None) -> Tensor:
    """Probability under pi_old of a class whose ratio lies outside 1 +- clip, [B]."""
    if clip is None:
        return torch.zeros_like(log_new[:, 0])
    lowest, highest = log_clip_range(clip)
    log_ratio = log_new - log_old
    outside = (log_ratio < lowest) | (log_ratio > highest)
    return (log_old.exp() * outside).sum(-1)
