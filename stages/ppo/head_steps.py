"""Steps of a linear head: gradients in closed form, without autograd, from tables that are made once per rollout (METHOD 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import BATCH
from pipeline.learning.surrogate import log_clip_range
from pipeline.models.policy import final_linear
from pipeline.run.processes import Share
from stages.ppo.learner import Learner
from stages.ppo.loss import exact_baseline, penalised_reward
from stages.ppo.rollout import Rollout


class HeadSteps:
    """`stages.ppo.network_steps.NetworkSteps` for a linear head and the expected surrogate, without PPO-ptx.

    Every process computes the gradient with respect to the logits of the whole minibatch, and of its share the parameters'.
    """

    def __init__(self, learner: Learner, rollout: Rollout) -> None:
        self.config, self.runtime, self.beta = learner.config, learner.runtime, learner.controller.beta
        self.head = final_linear(learner.suffix)

        # In parts: where they are not cached, the frozen prefix computes them, with its memory for every image at once.
        def inputs(own: Tensor) -> Tensor:
            return torch.cat([rollout.inputs.batch(part) for part in own.split(BATCH)])

        self.inputs = learner.runtime.divided(len(rollout.inputs), inputs)
        tables = torch.stack(tables_of(rollout, self.config, self.beta), 1)
        self.tables = tables.to(self.inputs.device, torch.float32)
        weight, bias = self.head.weight, self.head.bias
        self.gradient = weight.new_empty(weight.numel() + bias.numel())
        self.of_weight, self.of_bias = self.gradient[: weight.numel()].view_as(weight), self.gradient[weight.numel() :]
        weight.grad, bias.grad = self.of_weight, self.of_bias

    @torch.no_grad()
    def forward(self, positions: Tensor, share: Share) -> HeadStep:
        """A step on a minibatch, from the weights as they are now.

        Args:
            positions: [b] in the rollout, of which the head sees this process's share.
        """
        at = positions.to(self.inputs.device)
        own = self.inputs[at if self.runtime.world == 1 else at[share.positions.to(at.device)]]
        log_own = torch.log_softmax(torch.addmm(self.head.bias, own, self.head.weight.T), -1)
        return HeadStep(self, own, share, self.runtime.gather(log_own, share), *self.tables[at].unbind(1))


@dataclass(eq=False)
class HeadStep:
    """One step.

    Attributes:
        own: [s, D] inputs of this process's share.
        log_new, log_old, old, fixed: [b, C] of the minibatch, the last two as in `tables_of`.
    """

    steps: HeadSteps
    own: Tensor
    share: Share
    log_new: Tensor
    log_old: Tensor
    old: Tensor
    fixed: Tensor

    def __post_init__(self) -> None:
        self.p, self.log_ratio = self.log_new.exp(), self.log_new - self.log_old
        self.outside: tuple[Tensor, Tensor] | None = None  # [b, C] ratios below and above the range
        if self.steps.config.clip is not None:
            lowest, highest = log_clip_range(self.steps.config.clip)
            self.outside = self.log_ratio < lowest, self.log_ratio > highest

    def measure_change(self) -> tuple[float, float]:
        """approx_kl and clip_fraction, means over the minibatch."""
        kl = (self.p - self.old - self.old * self.log_ratio).sum()
        clipped = kl.new_zeros(()) if self.outside is None else (self.old * (self.outside[0] | self.outside[1])).sum()
        kl, clipped = (torch.stack([kl, clipped]) / len(self.p)).tolist()
        return kl, clipped

    @torch.no_grad()
    def compute_gradients(self) -> tuple[Tensor, None]:
        """Compute the gradients, clip their norm, and return it as it was before. The loss is finite if they are."""
        runtime, gradient = self.steps.runtime, self.steps.gradient
        of_logits = self.logits_gradient()
        if runtime.world > 1:
            of_logits = of_logits[self.share.positions.to(of_logits.device)] * (not self.share.empty)
        torch.sum(of_logits, 0, out=self.steps.of_bias)
        torch.mm(of_logits.T, self.own, out=self.steps.of_weight)
        runtime.total(gradient)
        norm = torch.linalg.vector_norm(gradient)
        gradient.mul_((self.steps.config.max_grad_norm / (norm + 1e-6)).clamp_(max=1))
        return norm, None

    def logits_gradient(self) -> Tensor:
        """Gradient [b, C] of `ppo_loss` with respect to the logits.

        That of the surrogate with respect to pi_new(a) is A(a), or 0 where it is clipped; the softmax subtracts its mean
        under pi_new.
        """
        config, p = self.steps.config, self.p
        advantage = self.fixed
        if config.penalty == "current":
            advantage = advantage.sub(self.log_new, alpha=self.steps.beta)
            advantage -= (p * advantage).sum(-1, keepdim=True)
        if self.outside is not None:
            below, above = self.outside
            advantage = advantage.masked_fill(torch.where(advantage > 0, above, below), 0.0)
        gain = p * advantage
        gain -= p * gain.sum(-1, keepdim=True)
        if config.entropy_bonus:
            entropy = -(p * self.log_new).sum(-1, keepdim=True)
            gain -= config.entropy_bonus * p * (self.log_new + entropy)
        return gain.mul_(-1 / len(p))


def tables_of(rollout: Rollout, config: PPOConfig, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """log pi_old, pi_old, and what stays fixed of the advantages while PPO learns from a rollout; all [B, C].

    With `penalty: old` these are the advantages themselves; with `current`, reward + beta log pi_ref, which lacks the current
    policy's part and the baseline.
    """
    old = rollout.log_old.exp()
    if config.penalty == "current":
        return rollout.log_old, old, rollout.reward + beta * rollout.log_ref
    penalised = penalised_reward(rollout.log_old, rollout.log_ref, rollout.reward, beta)
    return rollout.log_old, old, penalised - exact_baseline(rollout.log_old, penalised)
