"""DQN (Mnih et al. 2015): a network learns Q-values from replayed transitions and a target network.

For episodes of one step the target is the reward, and the target network has no effect (docs/values.md).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, smooth_l1_loss

from pipeline.learning.optimisers import adamw, set_lr, warmup_linear
from pipeline.values.environments import ParallelEnvironment
from pipeline.values.exploration import EPSILON, LinearSchedule, epsilon_greedy
from pipeline.values.replay import ReplayBuffer
from pipeline.values.transitions import Transitions, td_target, value_of

Apply = Callable[[nn.Module, Tensor], Tensor]  # a network's Q-values [N, A] of states [N], on the CPU
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"huber": smooth_l1_loss, "squared": mse_loss}


@dataclass(frozen=True)
class DQNConfig:
    """Settings of DQN.

    Attributes:
        steps: that the environment makes, each in all its parallel episodes.
        updates: steps of the optimiser after each of them.
        lr: initial learning rate; it falls in a straight line to zero.
        discount: of the value of the next state, 0 to 1.
        epsilon: probability of a random action.
        buffer: capacity of the replay buffer, in transitions.
        target_every: number of the environment's steps after which the target network becomes a copy of the network.
        loss: of Q(s, a) against its target; `huber` is less moved by outliers.
    """

    steps: int
    updates: int = 1
    minibatch_size: int = 32
    lr: float = 1e-3
    discount: float = 0.99
    epsilon: LinearSchedule = EPSILON
    buffer: int = 10_000
    target_every: int = 100
    loss: Literal["huber", "squared"] = "huber"


def learn(
    environment: ParallelEnvironment,
    network: nn.Module,
    q_values: Apply,
    config: DQNConfig,
    *,
    random: torch.Generator,
    report: Callable[[int, float, float], None] | None = None,
) -> None:
    """Train a network, in place, until q_values(network, state) are the expected discounted rewards of each action.

    Args:
        q_values: applies the network, and its copy, to states.
        random: stream of exploration and replay.
        report: is told the step, epsilon and the mean loss of its updates.
    """
    network.eval()
    target = copy.deepcopy(network).requires_grad_(False)
    optimiser = adamw(network.parameters(), config.lr)
    replay = ReplayBuffer(config.buffer)
    state = environment.reset()
    for step in range(config.steps):
        set_lr(optimiser, config.lr * warmup_linear(step, config.steps, 0.0))
        epsilon = config.epsilon.at(step, config.steps)

        # Act, and keep what happened.
        with torch.no_grad():
            action = epsilon_greedy(q_values(network, state), epsilon, random)
        after = environment.step(action)
        replay.add(Transitions(state, action, after.reward, after.state, after.terminal))
        state = after.state

        # Learn from what is kept.
        losses = []
        for _ in range(config.updates):
            batch = replay.sample(config.minibatch_size, random)
            wanted = td_target(batch, lambda states: q_values(target, states), config.discount)
            loss = LOSSES[config.loss](value_of(q_values(network, batch.state), batch.action), wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))

        if (step + 1) % config.target_every == 0:
            target.load_state_dict(network.state_dict())
        if report:
            report(step, epsilon, sum(losses) / len(losses))
