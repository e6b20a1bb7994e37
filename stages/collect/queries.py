"""What to ask: which images, and for comparisons which two labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PairQueries:
    """Comparisons of two labels on one image: rows [Q], label_a [Q], label_b [Q]."""

    rows: Tensor
    label_a: Tensor
    label_b: Tensor

    def __len__(self) -> int:
        return len(self.rows)


def spread_over(rows: Tensor, count: int, random: torch.Generator) -> Tensor:
    """`count` rows in random order, none asked about once more than any other before all were asked about as often."""
    rounds = -(-count // len(rows))
    shuffled = [rows[torch.randperm(len(rows), generator=random)] for _ in range(rounds)]
    return torch.cat(shuffled)[:count]


def uniform_pairs(rows: Tensor, log_policy: Tensor, random: torch.Generator) -> PairQueries:
    """Two distinct classes for each row, drawn from the policy one after the other without replacement (METHOD 7).

    Args:
        rows: [Q] row numbers to ask about.
        log_policy: [N, C] log-probabilities of the current policy.

    The Gumbel-top-2 trick (Kool et al. 2019) draws both at once; which of them is A is a coin flip of its own, since
    the first drawn is the likelier one.
    """
    uniform = torch.rand(len(rows), log_policy.shape[1], generator=random, dtype=torch.float64)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
    pair = (log_policy[rows].double() + gumbel).topk(2, dim=-1).indices
    swap = torch.rand(len(rows), generator=random) < 0.5
    return PairQueries(rows, torch.where(swap, pair[:, 1], pair[:, 0]), torch.where(swap, pair[:, 0], pair[:, 1]))
