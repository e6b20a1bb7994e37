"""Steps of any network by autograd, from the loss in loss.py."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.models.policy import log_policy
from pipeline.run.processes import Share
from stages.ppo.learner import Learner
from stages.ppo.loss import Minibatch, approx_kl, clip_fraction, ppo_loss
from stages.ppo.rollout import Rollout


class NetworkSteps:
    """Forward and backward passes while PPO learns from one rollout."""

    def __init__(self, learner: Learner, rollout: Rollout) -> None:
        self.learner, self.rollout = learner, rollout

    def forward(self, positions: Tensor, share: Share) -> NetworkStep:
        """A step on a minibatch, from the weights as they are now; with PPO-ptx, labelled images are in the same pass.

        Args:
            positions: [b] in the rollout, of which the network sees this process's share.
        """
        return NetworkStep(self.learner, self.rollout.minibatch(positions, *self._log_probabilities(positions, share)))

    def _log_probabilities(self, positions: Tensor, share: Share) -> tuple[Tensor, Tensor | None]:
        """log pi [b, C] of the minibatch and, with PPO-ptx, log pi(y|x) [b] of as many labelled images."""
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


@dataclass(frozen=True, eq=False)
class NetworkStep:
    """One step."""

    learner: Learner
    batch: Minibatch

    @property
    def log_new(self) -> Tensor:
        return self.batch.log_new

    @property
    def log_old(self) -> Tensor:
        return self.batch.log_old

    @torch.no_grad()
    def measure_change(self) -> tuple[float, float]:
        """approx_kl and clip_fraction, means over the minibatch."""
        new, old, clip = self.batch.log_new, self.batch.log_old, self.learner.config.clip
        sums = torch.stack([approx_kl(new, old).sum(), clip_fraction(new, old, clip).sum()])
        kl, clipped = (sums / len(self.batch)).tolist()
        return kl, clipped

    def compute_gradients(self) -> tuple[Tensor, Tensor]:
        """Compute all gradients and clip their norm; returns it as it was before, and the loss, a scalar."""
        learner = self.learner
        loss = ppo_loss(self.batch, learner.config, learner.controller.beta)
        learner.optimiser.zero_grad()
        loss.backward()
        trained = [p for p in learner.policy.parameters() if p.requires_grad]
        return nn.utils.clip_grad_norm_(trained, learner.config.max_grad_norm), loss.detach()
