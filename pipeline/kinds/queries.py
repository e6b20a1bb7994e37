"""Queries: questions of one kind as row numbers and class numbers, and functions that draw them (METHOD 7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Queries:
    """Q questions of one kind.

    Attributes:
        kind: name of the judgment kind.
        rows: [Q, I] row numbers of the images of each question.
        labels: [Q, L] class numbers of the labels asked about; L may be 0.
    """

    kind: str
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def pick(self, which: Tensor) -> Queries:
        """The questions selected by a mask or by positions."""
        return Queries(self.kind, self.rows[which], self.labels[which])


def spread_over(rows: Tensor, count: int, random: torch.Generator) -> Tensor:
    """`count` rows [count] in random order; the numbers of times that two rows are drawn differ by at most one."""
    rounds = max(1, -(-count // len(rows)))
    shuffled = [rows[torch.randperm(len(rows), generator=random)] for _ in range(rounds)]
    return torch.cat(shuffled)[:count]


def perturb(log_policy: Tensor, random: torch.Generator) -> Tensor:
    """Log-probabilities [Q, C] plus Gumbel noise: the k largest are k draws without replacement (Kool et al. 2019)."""
    uniform = torch.rand(log_policy.shape, generator=random, dtype=torch.float64)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
    return log_policy.double() + gumbel


def draw_classes(rows: Tensor, log_policy: Tensor, count: int, random: torch.Generator) -> Tensor:
    """`count` distinct classes [Q, count] for each row [Q], drawn from the policy [N, C] without replacement."""
    return perturb(log_policy[rows], random).topk(count, dim=-1).indices
