"""Trajectories of parallel episodes, and their returns: generalised advantage estimation (Schulman et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.values.environments import ParallelEnvironment


@dataclass(frozen=True, eq=False)
class Trajectories:
    """T steps of N parallel episodes; all columns but the last are [T, N].

    Attributes:
        state, action, reward: of each step.
        terminal: whether the episode ended with the step; the next row is then the first step of another one.
        last_state: [N] reached by the last step.
    """

    state: Tensor
    action: Tensor
    reward: Tensor
    terminal: Tensor
    last_state: Tensor


def collect(
    environment: ParallelEnvironment, state: Tensor, choose: Callable[[Tensor], Tensor], steps: int
) -> Trajectories:
    """Take `steps` steps from `state` [N].

    Args:
        choose: actions [N] in states [N].
    """
    rows = []
    for _ in range(steps):
        action = choose(state)
        after = environment.step(action)
        rows.append((state, action, after.reward, after.terminal))
        state = after.state
    states, actions, rewards, terminal = (torch.stack(column) for column in zip(*rows, strict=True))
    return Trajectories(states, actions, rewards, terminal, state)


def gae(
    reward: Tensor, terminal: Tensor, values: Tensor, last_value: Tensor, *, discount: float, decay: float
) -> Tensor:
    """Advantages [T, N]: sum_k (discount decay)^k delta_{t+k} to the episode's end, delta_t = r_t + discount V(s_{t+1}) - V(s_t).

    The value after a terminal step is zero. Advantages plus values are the returns that a critic learns.

    Args:
        reward, terminal, values: [T, N], values V(s_t).
        last_value: [N] V of the states that the last step reached.
        decay: lambda: 0 is the error of one step; 1 the whole return minus V, of high variance.
    """
    advantages = torch.zeros_like(reward)
    advantage, next_value = torch.zeros_like(last_value), last_value
    for t in reversed(range(len(reward))):
        continues = (~terminal[t]).float()
        delta = reward[t] + discount * continues * next_value - values[t]
        advantage = delta + discount * decay * continues * advantage
        advantages[t], next_value = advantage, values[t]
    return advantages


def complete(terminal: Tensor) -> Tensor:
    """Whether each step [T, N] belongs to an episode that ended in time, so that its return is known."""
    return terminal.flip(0).cummax(0).values.flip(0)
