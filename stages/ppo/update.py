"""Epochs of minibatch steps on one rollout (docs/method.md 4)."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.run.processes import Share
from pipeline.run.runtime import minibatches
from pipeline.run.sharded import collect, norm_of
from stages.ppo.guards import Diverged
from stages.ppo.head_steps import HeadSteps
from stages.ppo.learner import Learner
from stages.ppo.network_steps import NetworkSteps
from stages.ppo.rollout import Rollout

RATIO_TOLERANCE = 1e-4
EARLY_STOP_FACTOR = 1.5  # epochs end where approx_kl passes this many times its target


class Step(Protocol):
    """A minibatch that the policy has seen, from which a step of the optimiser is made."""

    @property
    def log_new(self) -> Tensor:
        """[b, C] log pi of the policy as it is now."""

    @property
    def log_old(self) -> Tensor:
        """[b, C] log pi of the policy that made the rollout."""

    def measure_change(self) -> tuple[float, float]:
        """approx_kl and clip_fraction, means over the minibatch."""

    def compute_gradients(self) -> tuple[Tensor, Tensor | None]:
        """Set all gradients, their norm clipped; returns the norm before that, and the loss unless it is finite if they are."""


def update(learner: Learner, rollout: Rollout) -> dict[str, float]:
    """Learn from one rollout; stops before the step at which approx_kl passes 1.5 times its target.

    Returns:
        Means over the steps made: approx_kl, clip_fraction, grad_norm (before clipping), value_loss where
        there is a critic; and steps and update_images, how many of each there were.

    Raises:
        UserError: at the first minibatch the ratio is not 1.
        Diverged: a loss or gradient is not finite; the weights are those of the step before.
    """
    config, runtime, rollout = learner.config, learner.runtime, rollout.on(learner.runtime.device)
    learner.policy.eval()
    position = torch.arange(len(rollout.inputs))
    passes = HeadSteps(learner, rollout) if learner.closed_form else NetworkSteps(learner, rollout)
    sums: dict[str, float] = {}
    steps = images = 0
    for _ in range(config.epochs):
        for positions in minibatches(position, config.minibatch_size, learner.random):
            share = runtime.share(len(positions))
            current = passes.forward(positions, share)
            if not steps:
                check_ratio(current.log_new.detach(), current.log_old)
            kl, clipped = current.measure_change()
            if config.target_kl and kl > EARLY_STOP_FACTOR * config.target_kl:
                collect(learner.policy)
                return _means(sums, steps, images)
            norm = step(learner, current)
            measured = {"approx_kl": kl, "clip_fraction": clipped, "grad_norm": norm}
            if learner.critic:
                measured["value_loss"] = fit_value(learner, rollout, positions, share)
            sums = {name: sums.get(name, 0.0) + value for name, value in measured.items()}
            steps, images = steps + 1, images + len(positions)
    collect(learner.policy)
    return _means(sums, steps, images)


def step(learner: Learner, current: Step) -> float:
    """One step of the optimiser; returns the gradient's norm before it was clipped.

    Raises:
        Diverged: loss or gradient is not finite.
    """
    gradient_norm, loss = current.compute_gradients()
    norm = norm_of(gradient_norm)
    mean_loss = norm if loss is None else float(loss)
    if not (norm < float("inf") and math.isfinite(mean_loss)):
        raise Diverged(f"the loss is {mean_loss:.3g} and its gradient's norm {norm:.3g}")
    learner.optimiser.step()
    return norm


def fit_value(learner: Learner, rollout: Rollout, positions: Tensor, share: Share) -> float:
    """One step of the critic toward the returns of the sampled classes; returns the mean squared error before it.

    Args:
        positions: [b] of the whole minibatch, of whose share the policy was called last.
    """
    critic, optimiser, runtime = learner.critic, learner.critic_optimiser, learner.runtime
    assert critic is not None
    assert optimiser is not None
    value = runtime.gather(critic.value()[: len(share.positions)], share)
    samples = rollout.samples_at(positions.to(value.device))
    assert samples is not None
    loss = (samples.importance * (value - samples.returns).square()).sum() / len(positions)
    optimiser.zero_grad()
    loss.backward()
    runtime.average_gradients(critic)
    optimiser.step()
    return float(loss.detach())


def check_ratio(log_new: Tensor, log_old: Tensor) -> None:
    """Before a rollout's first step the current policy is the old one: every ratio must be 1.

    Raises:
        UserError: it is not; something in the policy is not deterministic.
    """
    worst = float(((log_new - log_old).exp() - 1).abs().max())
    if not worst < RATIO_TOLERANCE:
        raise UserError(
            f"before a rollout's first step the ratio of new to old policy differs from 1 by {worst:.3g}: a layer is in "
            "train mode (BatchNorm, dropout) or a transform is random, and PPO would learn from that noise"
        )


def _means(sums: dict[str, float], steps: int, images: int) -> dict[str, float]:
    return {name: value / steps for name, value in sums.items()} | {"steps": steps, "update_images": images}
