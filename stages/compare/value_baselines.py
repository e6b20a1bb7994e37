"""DQN among the methods of the comparison: the only place that uses pipeline/values (docs/values.md).

To classify an image is an episode of one step, so Q(x, a) is the expected reward of class a.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.learning.environment import Environment
from pipeline.learning.objective import log_optimal_policy
from pipeline.models.backbone import Split
from pipeline.run.runtime import Stream, generator
from pipeline.tracking.metrics_log import Metrics
from pipeline.values.dqn import DQNConfig, learn
from pipeline.values.environments import Step
from stages.compare.exact_optimum import greedy

DQN_GREEDY, DQN_SOFTMAX = "DQN, greedy", "DQN, softmax"
VALUE_METHODS = (DQN_GREEDY, DQN_SOFTMAX)


@dataclass(eq=False)
class Images:
    """Images as episodes of one step: the state is the row of the image, the reward that of the class that was chosen.

    Attributes:
        rows: of all images to draw from.
        reward: [N, C] of all images.
        parallel: number of images per step, B.
        random: stream of the images.
    """

    rows: Tensor
    reward: Tensor
    parallel: int
    random: torch.Generator

    def reset(self) -> Tensor:
        """Rows [B] of the first images."""
        self.state = self.rows[torch.randint(len(self.rows), (self.parallel,), generator=self.random)]
        return self.state

    def step(self, action: Tensor) -> Step:
        """The reward of the classes [B], and the next images."""
        reward = self.reward[self.state, action]
        return Step(reward, self.reset(), torch.ones(len(action), dtype=torch.bool))


def q_table(
    environment: Environment, pieces: Split, features: Features, *, images: int, metrics: Metrics
) -> tuple[Tensor, int]:
    """Q-values [N, C] of every image by DQN, and the number of images that it was trained on.

    Q is what training adds to the reference's logits, centred under the reference, as the reward is: it is zero at first,
    and a head that shares its features with the reward model can represent the reward exactly.

    Args:
        pieces, features: of a network with the reference's weights; it is trained in place.
        images: about how many to train on.

    Raises:
        UserError: training diverged.
    """
    ws = environment.ws
    start, reference = ws.scores(pieces, features), environment.log_ref.exp()

    def q_values(network: nn.Module, rows: Tensor) -> Tensor:
        with features.autocast():
            outputs = network(features.batch(rows))
        return centred(outputs.float().cpu() - start[rows], reference[rows])

    config, random = dqn_config(ws.config.ppo, images), generator(ws.config.seed, Stream.DQN)
    episodes = Images(ws.rows("train"), environment.reward, config.minibatch_size, random)
    learn(
        episodes,
        pieces.suffix,
        q_values,
        config,
        random=random,
        report=lambda step, epsilon, loss: metrics.add(step=step, epsilon=epsilon, loss=loss),
    )
    q = centred(ws.scores(pieces, features) - start, reference)
    if not torch.isfinite(q).all():
        raise UserError("DQN diverged: its Q-values are NaN or Inf; lower ppo.lr")
    return q, config.steps * config.updates * config.minibatch_size


def centred(added: Tensor, reference: Tensor) -> Tensor:
    """`added` [B, C] less its mean under the reference's probabilities [B, C]."""
    return added - (reference * added).sum(-1, keepdim=True)


def dqn_config(ppo: PPOConfig, images: int) -> DQNConfig:
    """DQN's settings: minibatches, updates per image that is tried, and learning rate are PPO's.

    The buffer keeps all that was tried, because a frozen reward does not change.
    """
    steps = max(1, round(images / (ppo.epochs * ppo.minibatch_size)))
    return DQNConfig(
        steps=steps,
        updates=ppo.epochs,
        minibatch_size=ppo.minibatch_size,
        lr=ppo.lr,
        buffer=steps * ppo.minibatch_size,
    )


def dqn_policy(q: Tensor, log_ref: Tensor, beta: float, name: str) -> Tensor:
    """log pi [N, C] of the row `name`: the class of the highest Q-value, or pi_ref e^{Q / beta} / Z."""
    return greedy(q) if name == DQN_GREEDY else log_optimal_policy(log_ref, q, beta)
