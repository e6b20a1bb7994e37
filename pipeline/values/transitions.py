"""Transitions, the steps that Q-learning and DQN learn from, and the target of a Q-value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Transitions:
    """Steps of episodes, in columns of one length.

    Attributes:
        state, action: numbers, long.
        reward: float.
        next_state: number of the state reached; any where `terminal`.
        terminal: bool, whether the episode ended with the step.
    """

    state: Tensor
    action: Tensor
    reward: Tensor
    next_state: Tensor
    terminal: Tensor

    def __len__(self) -> int:
        return len(self.state)


def value_of(q: Tensor, action: Tensor) -> Tensor:
    """Q-values [N] of the actions [N], of q [N, A]."""
    return q.gather(-1, action[:, None])[:, 0]


@torch.no_grad()
def td_target(batch: Transitions, target_q: Callable[[Tensor], Tensor], discount: float) -> Tensor:
    """What Q(s, a) should be, [N]: the reward, plus the discounted value of the next state's best action.

    A terminal step has no next state: there the target is the reward alone, and the target network is not called.
    """
    wanted, continues = batch.reward.clone(), ~batch.terminal
    if continues.any():
        wanted[continues] += discount * target_q(batch.next_state[continues]).amax(-1)
    return wanted
