"""Epochs of minibatch steps on one rollout (docs/method.md 4); the loss is in loss.py."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pipeline.data.feature_cache import BATCH
from pipeline.errors import UserError
from pipeline.models.policy import final_linear, log_policy
from pipeline.run.processes import Share
from pipeline.run.runtime import minibatches
from pipeline.run.sharded import collect, norm_of
from stages.ppo.guards import Diverged
from stages.ppo.learner import Learner
from stages.ppo.loss import Minibatch, approx_kl, clip_fraction, logits_gradient, ppo_loss
from stages.ppo.rollout import Rollout

RATIO_TOLERANCE = 1e-4
EARLY_STOP_FACTOR = 1.5  # epochs end where approx_kl passes this many times its target


def update(learner: Learner, rollout: Rollout) -> dict[str, float]:
    """Learn from one rollout; stops before the step at which approx_kl passes 1.5 times its target.

    Returns:
        Means over the steps made: approx_kl, clip_fraction, grad_norm (before clipping), value_loss where
        there is a critic; and steps and update_images, how many of each there were.

    Raises:
        UserError: at the first minibatch the ratio is not 1.
        Diverged: a loss or gradient is not finite; the weights are those of the step before.
    """
    config, runtime, beta = learner.config, learner.runtime, learner.controller.beta
    learner.policy.eval()
    position = torch.arange(len(rollout.inputs))
    passes = HeadPasses(learner, rollout) if learner.closed_form else NetworkPasses(learner, rollout)
    sums: dict[str, float] = {}
    steps = images = 0
    for _ in range(config.epochs):
        for positions in minibatches(position, config.minibatch_size, learner.random):
            share = runtime.share(len(positions))
            batch = rollout.minibatch(positions, *passes.forward(positions, share))
            if not steps:
                check_ratio(batch.log_new.detach(), batch.log_old)
            kl, clipped = measure_step(learner, batch)
            if config.target_kl and kl > EARLY_STOP_FACTOR * config.target_kl:
                collect(learner.policy)
                return _means(sums, steps, images)
            norm = step(learner, passes.backward(batch, beta))
            measured = {"approx_kl": kl, "clip_fraction": clipped, "grad_norm": norm}
            if learner.critic:
                measured["value_loss"] = fit_value(learner, rollout, positions, share)
            sums = {name: sums.get(name, 0.0) + value for name, value in measured.items()}
            steps, images = steps + 1, images + len(positions)
    collect(learner.policy)
    return _means(sums, steps, images)


class NetworkPasses:
    """Forward and backward passes of any suffix."""

    def __init__(self, learner: Learner, rollout: Rollout) -> None:
        self.learner, self.rollout = learner, rollout

    def forward(self, positions: Tensor, share: Share) -> tuple[Tensor, Tensor | None]:
        """log pi [b, C] of the minibatch and, with PPO-ptx, log pi(y|x) of as many labelled images, in one pass.

        Args:
            positions: [b] of the whole minibatch, of which the network sees this process's share.
        """
        learner, inputs = self.learner, self.rollout.inputs
        own, gather = positions[share.positions], learner.runtime.gather
        features, autocast = inputs.batch(own), inputs.features.autocast
        if not (learner.config.ptx and learner.labelled):
            with autocast():
                logits = learner.policy(features)
            return gather(log_policy(logits), share), None
        rows, classes = learner.labelled
        drawn = torch.randint(len(rows), (len(positions),), generator=learner.random)
        both = torch.cat([features, inputs.features.batch(rows[drawn[share.positions]])])
        with autocast():
            logits = learner.policy(both)
        log_new, log_labelled = (gather(part, share) for part in log_policy(logits).split(len(own)))
        chosen = classes[drawn].to(log_labelled.device)
        return log_new, log_labelled.gather(-1, chosen[:, None])[:, 0]

    def backward(self, batch: Minibatch, beta: float) -> Tensor | None:
        """Compute all gradients; returns the loss, a scalar."""
        loss = ppo_loss(batch, self.learner.config, beta)
        self.learner.optimiser.zero_grad()
        loss.backward()
        return loss.detach()


class HeadPasses:
    """The same for a linear head: its gradients in closed form, without autograd, from inputs that are read once."""

    def __init__(self, learner: Learner, rollout: Rollout) -> None:
        self.config, self.head, self.runtime = learner.config, final_linear(learner.suffix), learner.runtime

        # In parts: where they are not cached, the frozen prefix computes them, with its memory for every image at once.
        def inputs(own: Tensor) -> Tensor:
            return torch.cat([rollout.inputs.batch(part) for part in own.split(BATCH)])

        self.inputs = learner.runtime.divided(len(rollout.inputs), inputs)
        self.own, self.share = self.inputs, learner.runtime.share(len(rollout.inputs))

    @torch.no_grad()
    def forward(self, positions: Tensor, share: Share) -> tuple[Tensor, None]:
        """log pi [b, C] of the minibatch."""
        self.own, self.share = self.inputs[positions[share.positions].to(self.inputs.device)], share
        log_own = torch.log_softmax(torch.addmm(self.head.bias, self.own, self.head.weight.T), -1)
        return self.runtime.gather(log_own, share), None

    @torch.no_grad()
    def backward(self, batch: Minibatch, beta: float) -> Tensor | None:
        """Compute both gradients; the loss itself is not needed: it is finite if they are."""
        gradient = logits_gradient(batch, self.config, beta).to(self.head.weight.dtype)
        self.head.bias.grad = gradient.sum(0)
        if self.runtime.world > 1:
            gradient = gradient[self.share.positions.to(gradient.device)] * (not self.share.empty)
        self.head.weight.grad = self.runtime.total(gradient.T @ self.own)
        return None


@torch.no_grad()
def measure_step(learner: Learner, batch: Minibatch) -> tuple[float, float]:
    """approx_kl and clip_fraction, means over the whole minibatch, before a step is made."""
    log_new, log_old = batch.log_new, batch.log_old
    sums = torch.stack([approx_kl(log_new, log_old).sum(), clip_fraction(log_new, log_old, learner.config.clip).sum()])
    kl, clipped = (sums / len(batch)).tolist()
    return kl, clipped


def step(learner: Learner, loss: Tensor | None) -> float:
    """One step of the optimiser; returns the gradient's norm before it was clipped.

    Args:
        loss: a scalar that must be finite, too.

    Raises:
        Diverged: loss or gradient is not finite.
    """
    trained = [p for p in learner.policy.parameters() if p.requires_grad]
    norm = norm_of(nn.utils.clip_grad_norm_(trained, learner.config.max_grad_norm))
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
    importance, returns = (of[positions].to(value.device) for of in (rollout.importance, rollout.returns))
    loss = (importance * (value - returns).square()).sum() / len(positions)
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
