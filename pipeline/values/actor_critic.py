"""A2C (Mnih et al. 2016) and PPO (Schulman et al. 2017) for episodes of any length: two settings of one loop.

`stages/ppo` aligns classifiers: there episodes have one step, and the baseline is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pipeline.learning.objective import entropy
from pipeline.learning.optimisers import adamw, set_lr, warmup_linear
from pipeline.learning.surrogate import sampled_surrogate
from pipeline.run.runtime import minibatches
from pipeline.values.environments import ParallelEnvironment
from pipeline.values.exploration import sample
from pipeline.values.returns import collect, gae
from pipeline.values.transitions import value_of


@dataclass(frozen=True)
class ActorCriticConfig:
    """Settings of the loop; the defaults are A2C's.

    Attributes:
        iterations: number of rollouts.
        steps: of every parallel episode in a rollout.
        epochs: passes over each rollout.
        minibatch_size: maximum number of steps in a minibatch; None: the whole rollout.
        clip: of the ratio; None clips nothing.
        lr: initial learning rate of both networks; it falls in a straight line to zero.
        discount: of the value of the next state, 0 to 1.
        gae_lambda: how far advantages look ahead: 0 one step, 1 to the episode's end.
        value_weight, entropy_bonus: weights of the critic's loss and of the policy's entropy.
    """

    iterations: int
    steps: int = 8
    epochs: int = 1
    minibatch_size: int | None = None
    clip: float | None = None
    lr: float = 0.01
    discount: float = 0.99
    gae_lambda: float = 0.95
    value_weight: float = 0.5
    entropy_bonus: float = 0.0

    def as_ppo(self) -> ActorCriticConfig:
        """The same with PPO's usual epochs, minibatches and clip."""
        return replace(self, epochs=4, minibatch_size=64, clip=0.2)


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps of a rollout in any order, in columns of one length.

    Attributes:
        log_old: log pi_old of the action.
        advantage: of the action, without a gradient.
        returns: what the critic learns.
    """

    state: Tensor
    action: Tensor
    log_old: Tensor
    advantage: Tensor
    returns: Tensor

    def __getitem__(self, part: Tensor) -> Steps:
        return Steps(*(column[part] for column in vars(self).values()))


def learn(
    environment: ParallelEnvironment,
    actor: nn.Module,
    critic: nn.Module,
    config: ActorCriticConfig,
    *,
    random: torch.Generator,
) -> None:
    """Train both networks in place.

    Args:
        actor: states [B] to logits [B, A]; critic: states [B] to values [B, 1].
        random: stream of actions and minibatches.
    """
    optimiser = adamw([*actor.parameters(), *critic.parameters()], config.lr, eps=1e-5)
    state = environment.reset()
    for iteration in range(config.iterations):
        set_lr(optimiser, config.lr * warmup_linear(iteration, config.iterations, 0.0))
        rollout, state = make_rollout(environment, state, actor, critic, config=config, random=random)
        size = config.minibatch_size or len(rollout.state)
        for _ in range(config.epochs):
            for part in minibatches(torch.arange(len(rollout.state)), size, random):
                loss = actor_critic_loss(actor, critic, rollout[part], config)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()


@torch.no_grad()
def make_rollout(
    environment: ParallelEnvironment,
    state: Tensor,
    actor: nn.Module,
    critic: nn.Module,
    *,
    config: ActorCriticConfig,
    random: torch.Generator,
) -> tuple[Steps, Tensor]:
    """Steps [T * N] from `state` [N], with advantages; and the states reached."""

    def choose(states: Tensor) -> Tensor:
        return sample(torch.log_softmax(actor(states), -1), random)

    made = collect(environment, state, choose, config.steps)
    values = critic(made.state)[..., 0]
    advantage = gae(
        made.reward,
        made.terminal,
        values,
        critic(made.last_state)[..., 0],
        discount=config.discount,
        decay=config.gae_lambda,
    )
    log_old = value_of(torch.log_softmax(actor(made.state), -1).flatten(0, 1), made.action.flatten())
    columns = (column.flatten() for column in (advantage, advantage + values))
    return Steps(made.state.flatten(), made.action.flatten(), log_old, *columns), made.last_state


def actor_critic_loss(actor: nn.Module, critic: nn.Module, steps: Steps, config: ActorCriticConfig) -> Tensor:
    """The scalar that one step minimises: surrogate, entropy bonus and squared error of the critic."""
    log_pi = torch.log_softmax(actor(steps.state), -1)
    gain = sampled_surrogate(value_of(log_pi, steps.action), steps.log_old, steps.advantage, config.clip)
    gain = gain + config.entropy_bonus * entropy(log_pi)
    error = critic(steps.state)[..., 0] - steps.returns
    return -gain.mean() + config.value_weight * error.square().mean()
