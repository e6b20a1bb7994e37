"""Which action is tried: the best one with exceptions (epsilon-greedy), or one drawn in proportion to e^{Q / temperature}."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearSchedule:
    """A number that goes in a straight line from `start` to `end` in the first `share` of all steps, and stays there.

    Attributes:
        share: above 0, at most 1.
    """

    start: float
    end: float
    share: float = 1.0

    def at(self, step: int, total: int) -> float:
        """The number at `step` of `total`, counted from 0."""
        return self.start + (self.end - self.start) * min(1.0, step / (self.share * total))


EPSILON = LinearSchedule(1.0, 0.05, 0.5)  # usual in DQN: random actions at first, then mostly the best one


def epsilon_greedy(q: Tensor, epsilon: float, random: torch.Generator) -> Tensor:
    """Actions [N]: of the highest Q-value, of q [N, A], or with probability `epsilon` any one, all equally likely."""
    exploring = torch.rand(len(q), generator=random) < epsilon
    any_action = torch.randint(q.shape[-1], (len(q),), generator=random)
    return torch.where(exploring, any_action, q.argmax(-1))


def softmax_policy(q: Tensor, temperature: float) -> Tensor:
    """log pi [N, A] of the policy that is proportional to e^{q / temperature}; 0 is greedy, infinity uniform."""
    return torch.log_softmax(q / temperature, -1)


def sample(log_pi: Tensor, random: torch.Generator) -> Tensor:
    """Actions [N] drawn from log-probabilities [N, A]."""
    return torch.multinomial(log_pi.exp(), 1, generator=random)[:, 0]
