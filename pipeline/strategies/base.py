"""The interface of query strategies, which choose the questions that are asked (METHOD 7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from feedback_store.registry import Registry
from pipeline.errors import UserError
from pipeline.kinds import JudgmentKind, Queries


@dataclass(frozen=True, eq=False)
class Candidates:
    """Inputs of a strategy.

    Attributes:
        pool: [P] row numbers of the images that can be asked about.
        log_policy: [N, C] log-probabilities of the current policy.
        random: random stream of the strategy.
        judged: [J] row numbers of the images that were judged before.
        samples: [S, N, C] log-probabilities under S draws from the reward model's posterior, or those of its ensemble; None
            before the first reward model.
        represent: computes vectors [N, D] in which images are compared (`pipeline.data.representation`).
    """

    pool: Tensor
    log_policy: Tensor
    random: torch.Generator
    judged: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    samples: Tensor | None = None
    represent: Callable[[], np.ndarray] | None = None

    @cached_property
    def features(self) -> np.ndarray:
        """Vectors [N, D] of all images."""
        if self.represent is None:
            raise UserError(
                "collect.strategy: it compares images with each other, which this teacher has no features for"
            )
        return self.represent()

    @property
    def log_mean(self) -> Tensor:
        """log of the posterior mean of the probabilities, [N, C]; the policy's before the first reward model."""
        if self.samples is None:
            return self.log_policy
        return torch.logsumexp(self.samples, 0) - float(np.log(len(self.samples)))

    def fresh(self) -> Tensor:
        """The part of the pool that was not judged; all of it once everything was."""
        left = self.pool[~torch.isin(self.pool, self.judged)]
        return left if len(left) else self.pool


class QueryStrategy(Protocol):
    """Chooses queries."""

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        """`count` queries of a kind, the most valuable first; if possible a larger `count` only appends queries.

        Raises:
            UserError: too few images or classes.
        """


def about(kind: JudgmentKind, rows: Tensor, candidates: Candidates) -> Queries:
    """One query about each row [Q], in order; where the kind asks about labels, it draws them from the policy."""
    queries = kind.query_each(rows)
    if queries is not None:
        return queries
    each = [kind.draw(row[None], 1, candidates.log_policy, candidates.random) for row in rows]
    return Queries(kind.name, torch.cat([one.rows for one in each]), torch.cat([one.labels for one in each]))


def filled(rows: Tensor, count: int, pool: Tensor) -> Tensor:
    """`count` rows: those chosen, then the rest of the pool, and all of them again as often as it takes."""
    every = torch.cat([rows, pool[~torch.isin(pool, rows)]])
    return every.repeat(-(-count // len(every)))[:count]


def seed_of(random: torch.Generator) -> int:
    """A seed for libraries that have random streams of their own."""
    return int(torch.randint(2**31 - 1, (1,), generator=random))


strategies: Registry[QueryStrategy] = Registry("query strategy", "image_rlhf.query_strategies")
