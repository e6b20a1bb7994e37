"""Environments with numbered states, many in parallel: a four-armed bandit, a chain, and the interface of both."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import torch
from torch import Tensor

THRESHOLDS = (0.2, 0.0, -0.2, -1.0)  # of the bandit's arms
LEFT, RIGHT = 0, 1


@dataclass(frozen=True, eq=False)
class Step:
    """What an environment answers to an action in each of N parallel episodes.

    Attributes:
        reward: [N].
        state: [N] numbers of the states reached; where an episode has ended, the first state of the next one.
        terminal: [N] bool, whether the episode has ended.
    """

    reward: Tensor
    state: Tensor
    terminal: Tensor


class ParallelEnvironment(Protocol):
    """N episodes side by side; each starts again when it has ended."""

    def reset(self) -> Tensor:
        """Numbers [N] of the first states."""

    def step(self, action: Tensor) -> Step:
        """Take an action [N] in every episode."""


class Bandit:
    """One state, one step: +1 if a standard normal draw exceeds the threshold of the arm that was pulled, otherwise -1.

    Args:
        parallel: N.
        random: stream of the draws.
    """

    def __init__(self, parallel: int, random: torch.Generator) -> None:
        self.parallel, self.random = parallel, random
        self.thresholds = torch.tensor(THRESHOLDS)

    @staticmethod
    def expected_rewards() -> Tensor:
        """[4] of each arm: 2 P(draw > threshold) - 1."""
        return torch.tensor([1 - 2 * NormalDist().cdf(threshold) for threshold in THRESHOLDS])

    def reset(self) -> Tensor:
        """Numbers [N] of the first states."""
        return torch.zeros(self.parallel, dtype=torch.long)

    def step(self, action: Tensor) -> Step:
        """Take an action [N] in every episode."""
        won = torch.randn(self.parallel, generator=self.random) > self.thresholds[action]
        return Step(torch.where(won, 1.0, -1.0), self.reset(), torch.ones(self.parallel, dtype=torch.bool))


class Chain:
    """States in a row, actions left and right: +1 for leaving it on the right, a smaller reward on the left.

    An episode starts in any state. With a discount of 0.9, five states and 0.7 on the left, the best action of the first
    state is left (0.7, and 0.9^4 = 0.656 for the way to the right), that of all others right. Without discount it is right
    everywhere.

    Args:
        parallel: N.
        random: stream of the first states.
        states: number of states.
        left_reward: for leaving the chain on the left.
    """

    def __init__(self, parallel: int, random: torch.Generator, states: int = 5, left_reward: float = 0.7) -> None:
        self.parallel, self.random, self.states, self.left_reward = parallel, random, states, left_reward
        self.state = self.reset()

    def reset(self) -> Tensor:
        """Numbers [N] of the first states."""
        self.state = self._starts()
        return self.state

    def step(self, action: Tensor) -> Step:
        """Take an action [N] in every episode."""
        reached = self.state + torch.where(action == RIGHT, 1, -1)
        left, right = reached < 0, reached >= self.states
        terminal = left | right
        self.state = torch.where(terminal, self._starts(), reached)
        return Step(right.float() + self.left_reward * left.float(), self.state, terminal)

    def _starts(self) -> Tensor:
        return torch.randint(self.states, (self.parallel,), generator=self.random)
