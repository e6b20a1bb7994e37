"""What to ask: which images, and which labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config.base import Question
from pipeline.errors import UserError

NONE = -1  # in `Queries`, where a question has no second side or names no label


@dataclass(frozen=True, eq=False)
class Queries:
    """Questions of one kind, as row numbers of images and class numbers; each [Q]."""

    kind: Question
    rows_a: Tensor
    label_a: Tensor
    rows_b: Tensor
    label_b: Tensor

    def __len__(self) -> int:
        return len(self.rows_a)


def draw(kind: Question, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
    """`count` questions about the images of a pool, labels drawn from the current policy (METHOD 7, uniform).

    Args:
        pool: [P] row numbers.
        log_policy: [N, C] log-probabilities of the current policy.

    Raises:
        UserError: two images are to be compared, and there is one.
    """
    if kind == "image_comparison":
        if len(pool) < 2:
            raise UserError("collect.question: comparing two images needs at least two images to ask about")
        return image_pairs(pool, count, log_policy, random)
    rows = spread_over(pool, count, random)
    if kind == "comparison":
        return uniform_pairs(rows, log_policy, random)
    none = torch.full_like(rows, NONE)
    label = none if kind == "label" else _perturbed(rows, log_policy, random).argmax(-1)
    return Queries(kind, rows, label, none, none)


def spread_over(rows: Tensor, count: int, random: torch.Generator) -> Tensor:
    """`count` rows in random order, none asked about once more than any other before all were asked about as often."""
    rounds = -(-count // len(rows))
    shuffled = [rows[torch.randperm(len(rows), generator=random)] for _ in range(rounds)]
    return torch.cat(shuffled)[:count]


def _perturbed(rows: Tensor, log_policy: Tensor, random: torch.Generator) -> Tensor:
    """Log-probabilities plus Gumbel noise [Q, C]: the k largest are k draws without replacement (Kool et al. 2019)."""
    uniform = torch.rand(len(rows), log_policy.shape[1], generator=random, dtype=torch.float64)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
    return log_policy[rows].double() + gumbel


def uniform_pairs(rows: Tensor, log_policy: Tensor, random: torch.Generator) -> Queries:
    """Two distinct classes for each row [Q], drawn from the policy one after the other without replacement (METHOD 7).

    Which of them is A is a coin flip of its own, since the first drawn is the likelier one.
    """
    pair = _perturbed(rows, log_policy, random).topk(2, dim=-1).indices
    swap = torch.rand(len(rows), generator=random) < 0.5
    label_a, label_b = torch.where(swap, pair[:, 1], pair[:, 0]), torch.where(swap, pair[:, 0], pair[:, 1])
    return Queries("comparison", rows, label_a, rows, label_b)


def image_pairs(pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
    """Two distinct images for one label each: every class as often as any other, its images drawn by pi(label | image).

    Under a policy with an opinion both images are then candidates for the label, so that there is something to tell
    apart; under one without, images are drawn uniformly.
    """
    classes = log_policy.shape[1]
    labels = spread_over(torch.arange(classes), count, random)
    rows_a, rows_b = torch.empty(count, dtype=torch.long), torch.empty(count, dtype=torch.long)
    for label in range(classes):
        asked = torch.nonzero(labels == label).flatten()
        pairs_a_round = len(pool) // 2
        drawn: list[Tensor] = []
        while sum(map(len, drawn)) < 2 * len(asked):
            # All of the pool in an order drawn without replacement: neighbours make pairs of distinct images.
            noise = torch.rand(len(pool), generator=random, dtype=torch.float64).clamp(1e-300, 1 - 1e-16)
            order = (log_policy[pool, label].double() - torch.log(-torch.log(noise))).argsort(descending=True)
            drawn.append(pool[order[: 2 * min(pairs_a_round, len(asked))]])
        pair = torch.cat(drawn)[: 2 * len(asked)].view(-1, 2)
        rows_a[asked], rows_b[asked] = pair[:, 0], pair[:, 1]
    return Queries("image_comparison", rows_a, labels, rows_b, labels)
