"""Epochs of minibatch steps on one rollout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.config.ppo import PPOConfig
from pipeline.errors import UserError
from pipeline.learning.objective import entropy
from pipeline.models.policy import log_policy
from pipeline.run.runtime import minibatches
from stages.ppo.learner import Learner
from stages.ppo.loss import approx_kl, clip_fraction, expected_surrogate, sampled_surrogate, score_function
from stages.ppo.rollout import Diverged, Rollout

RATIO_TOLERANCE = 1e-4


def update(learner: Learner, rollout: Rollout) -> dict[str, float]:
    """Learn from one rollout; stops before the step at which approx_kl passes 1.5 times its target.

    Returns:
        Means over the steps made: approx_kl, clip_fraction, grad_norm (before clipping), value_loss where
        there is a critic; and steps and update_images, how many of each there were.

    Raises:
        UserError: at the first minibatch the ratio is not 1.
        Diverged: a loss or gradient is not finite; the weights are those of the step before.
    """
    config, runtime = learner.config, learner.runtime
    learner.policy.eval()
    position = torch.arange(len(rollout.inputs))
    sums: dict[str, float] = {}
    steps = images = 0
    for _ in range(config.epochs):
        for batch in minibatches(position, config.minibatch_size, learner.random):
            part = runtime.share(batch)
            log_new, log_labelled = forward_both(learner, rollout, part, len(batch))
            log_old = rollout.log_old[part].to(log_new.device)
            if not steps:
                check_ratio(log_new.detach(), log_old)
            with torch.no_grad():
                sizes = torch.stack(
                    [approx_kl(log_new, log_old).sum(), clip_fraction(log_new, log_old, config.clip).sum()]
                )
                moved, outside = (runtime.total(sizes) / len(batch)).tolist()
            if config.target_kl and moved > 1.5 * config.target_kl:
                return _means(sums, steps, images)
            gain = surrogate(rollout, part, log_new, log_old, config)
            if config.entropy_bonus:
                gain = gain + config.entropy_bonus * entropy(log_new)
            loss = -gain.sum() * runtime.world / len(batch)
            if log_labelled is not None:
                loss = loss - config.ptx * log_labelled.mean()
            norm = step(learner, loss)
            measured = {"approx_kl": moved, "clip_fraction": outside, "grad_norm": norm}
            if learner.critic:
                measured["value_loss"] = fit_value(learner, rollout, part, len(batch))
            sums = {name: sums.get(name, 0.0) + value for name, value in measured.items()}
            steps, images = steps + 1, images + len(batch)
    return _means(sums, steps, images)


def forward_both(learner: Learner, rollout: Rollout, part: Tensor, images: int) -> tuple[Tensor, Tensor | None]:
    """log pi [b, C] of the minibatch and, with PPO-ptx, log pi(y|x) of as many labelled images, in one pass.

    Args:
        part: this process's part of the minibatch.
        images: size of the whole minibatch; every process draws for all, so that their streams stay together.
    """
    features = rollout.inputs.batch(part)
    if not (learner.config.ptx and learner.labelled):
        return log_policy(learner.policy(features)), None
    rows, classes = learner.labelled
    drawn = learner.runtime.share(torch.randint(len(rows), (images,), generator=learner.random))
    both = torch.cat([features, rollout.inputs.features.batch(rows[drawn])])
    log_new, log_labelled = log_policy(learner.policy(both)).split([len(part), len(drawn)])
    chosen = classes[drawn].to(log_labelled.device)
    return log_new, log_labelled.gather(-1, chosen[:, None])[:, 0]


def surrogate(rollout: Rollout, part: Tensor, log_new: Tensor, log_old: Tensor, config: PPOConfig) -> Tensor:
    """What is maximised, for each image of the minibatch, [b]; log_new, log_old: [b, C]."""
    advantage = rollout.advantage(log_new if config.penalty == "learning" else log_old, part)
    if config.estimator == "expected":
        return expected_surrogate(log_new, log_old, advantage, config.clip)
    actions, weight = rollout.actions[part].to(log_new.device), rollout.weight[part].to(log_new.device)
    new, old, taken = (of.gather(-1, actions[:, None])[:, 0] for of in (log_new, log_old, advantage))
    if config.surrogate == "score":
        return weight * score_function(new, taken)
    return weight * sampled_surrogate(new, old, taken, config.clip)


def step(learner: Learner, loss: Tensor) -> float:
    """One step of the optimiser; returns the gradient's norm before it was clipped.

    Raises:
        Diverged: loss or gradient is not finite.
    """
    learner.optimiser.zero_grad()
    loss.backward()
    trained = [p for p in learner.policy.parameters() if p.requires_grad]
    norm = float(nn.utils.clip_grad_norm_(trained, learner.config.max_grad_norm))
    if not (norm < float("inf") and torch.isfinite(loss)):
        raise Diverged(f"the loss is {float(loss.detach()):.3g} and its gradient's norm {norm:.3g}")
    learner.optimiser.step()
    return norm


def fit_value(learner: Learner, rollout: Rollout, part: Tensor, images: int) -> float:
    """One step of the critic toward the returns of the sampled classes; returns the mean squared error before it."""
    critic, optimiser, runtime = learner.critic, learner.critic_optimiser, learner.runtime
    assert critic is not None
    assert optimiser is not None
    value = critic.value()[: len(part)]
    weight, returns = rollout.weight[part].to(value.device), rollout.returns[part].to(value.device)
    loss = (weight * (value - returns).square()).sum() * runtime.world / images
    optimiser.zero_grad()
    loss.backward()
    runtime.average_gradients(critic)
    optimiser.step()
    return float(loss.detach())


def check_ratio(log_new: Tensor, log_old: Tensor) -> None:
    """Before a rollout's first step the policy that learns is the policy that acted: every ratio must be 1.

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
