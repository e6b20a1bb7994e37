"""Everything that changes while PPO runs, in one object: policy, critic, optimisers, random streams, beta."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import BATCH
from pipeline.errors import UserError
from pipeline.learning.batches import Batches
from pipeline.learning.environment import Inputs
from pipeline.learning.optimisers import adamw, set_lr, warmup_linear
from pipeline.models.backbone import Split
from pipeline.models.policy import is_linear, log_policy
from pipeline.run.runtime import Runtime, Stream, generator
from pipeline.run.sharded import load_whole_state, spread, whole_state
from stages.ppo.batchnorm import refresh_batchnorm
from stages.ppo.critic import Critic
from stages.ppo.kl_controller import KLController
from stages.ppo.rollout import Rollout, make_rollout


@dataclass(eq=False)
class Learner:
    """The policy being trained and the state of its training; `state` and `restore` make checkpoints of it.

    Attributes:
        suffix: the trainable part of the policy.
        policy: the same, wrapped where several processes learn together.
        critic, critic_optimiser: for `estimator: critic`.
        batches: rollouts' images; random: the stream for everything PPO draws.
        labelled: rows and classes of the labelled images (PPO-ptx), or None.
        controller: the one home of beta.
    """

    config: PPOConfig
    runtime: Runtime
    suffix: nn.Module
    policy: nn.Module
    optimiser: torch.optim.Optimizer
    critic: Critic | None
    critic_optimiser: torch.optim.Optimizer | None
    random: torch.Generator
    batches: Batches
    labelled: tuple[Tensor, Tensor] | None
    controller: KLController

    @classmethod
    def start(
        cls,
        config: PPOConfig,
        runtime: Runtime,
        pieces: Split,
        rows: Tensor,
        *,
        seed: int,
        beta: float,
        labelled: tuple[Tensor, Tensor] | None = None,
    ) -> Learner:
        """At the initial weights of `pieces`, before the first rollout.

        Args:
            rows: images to draw rollouts from.
            beta: initial weight of the KL penalty.

        Raises:
            UserError: a critic with `runtime.shard`.
        """
        if runtime.shard and config.estimator == "critic":
            raise UserError(
                "runtime.shard: the critic reads the whole policy; set ppo.estimator to expected, or shard to false"
            )
        critic = Critic(pieces.suffix) if config.estimator == "critic" else None
        random, policy = generator(seed, Stream.PPO), runtime.prepare(pieces.suffix)
        return cls(
            config,
            runtime,
            pieces.suffix,
            policy,
            adamw(policy.parameters(), config.lr, eps=1e-5),
            critic,
            adamw(critic.parameters(), config.value_lr, eps=1e-5) if critic else None,
            random,
            Batches(rows, config.batch_size, random),
            labelled,
            KLController(beta, config.kl_target, config.kl_horizon),
        )

    def set_lr(self, iteration: int) -> float:
        """Learning rates after `iteration` updates; returns the policy's."""
        config = self.config
        factor = warmup_linear(iteration, config.iterations, config.warmup_fraction)
        set_lr(self.optimiser, config.lr * factor)
        if self.critic_optimiser:
            set_lr(self.critic_optimiser, config.value_lr * factor)
        return config.lr * factor

    @property
    def closed_form(self) -> bool:
        """Whether the gradient is computed in closed form: of the expected surrogate, for a linear head."""
        plain = self.config.estimator == "expected" and not self.config.ptx and not self.runtime.shard
        return plain and is_linear(self.suffix)

    def refresh_batchnorm(self, inputs: Inputs) -> None:
        """Estimate BatchNorm's statistics on a rollout's images."""
        refresh_batchnorm(self.suffix, inputs)
        spread(self.policy)

    @torch.no_grad()
    def act(self, inputs: Inputs, log_ref: Tensor, reward: Tensor) -> Rollout:
        """A rollout of images [B] under the current policy; log_ref, reward [B, C]."""
        self.suffix.eval()
        classes = log_ref.shape[1]

        def outputs(own: Tensor) -> Tensor:
            parts = []
            for part in own.split(BATCH):
                with inputs.features.autocast():
                    parts.append(self.suffix(inputs.batch(part)).float().cpu())
                if self.critic:
                    parts[-1] = torch.cat([parts[-1], self.critic.value()[:, None].cpu()], 1)
            return torch.cat(parts)

        both = self.runtime.divided(len(inputs), outputs)  # logits [B, C], and the critic's values
        return make_rollout(
            inputs,
            log_policy(both[:, :classes].contiguous()),
            log_ref,
            reward,
            beta=self.controller.beta,
            random=self.random,
            baseline=self.config.baseline,
            values=both[:, classes].contiguous() if self.critic else None,
            temperature=self.config.temperature,
            sampled=self.config.estimator != "expected",
        )

    def weights(self) -> dict[str, Tensor]:
        """A copy of the policy's weights and buffers."""
        return copy.deepcopy(self.suffix.state_dict())

    def state(self) -> dict[str, Any]:
        """A copy of all that `restore` needs to resume with the same results; all processes must call it."""
        changing = {
            "policy": self.suffix.state_dict(),
            "optimiser": whole_state(self.optimiser),
            "critic": self.critic.state_dict() if self.critic else None,
            "critic_optimiser": self.critic_optimiser.state_dict() if self.critic_optimiser else None,
            "random": self.random.get_state(),
            "queue": self.batches.queue,
            "beta": self.controller.beta,
        }
        return copy.deepcopy(changing)

    def restore(self, state: dict[str, Any]) -> None:
        """Resume from what `state` returned."""
        self.suffix.load_state_dict(state["policy"])
        spread(self.policy)
        load_whole_state(self.optimiser, state["optimiser"])
        if self.critic and self.critic_optimiser:
            self.critic.load_state_dict(state["critic"])
            self.critic_optimiser.load_state_dict(state["critic_optimiser"])
        self.random.set_state(state["random"])
        self.batches.queue = list(state["queue"])
        self.controller = KLController(state["beta"], self.config.kl_target, self.config.kl_horizon)
