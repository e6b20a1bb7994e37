"""The interface of query strategies, which choose the questions that are asked (METHOD 7)."""

from __future__ import annotations

import copy
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

RANKED_FOR_PAGES = 6  # times as many images as pages show; only 1 was tried beside it (CIFAR-10, seeds 100 to 102)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Inputs of a strategy.

    Attributes:
        pool: [P] row numbers of the images that can be asked about.
        log_policy: [N, C] log-probabilities of the current policy.
        random: random stream of the strategy.
        judged: [J] row numbers of the images that were asked about before.
        times: [J] how often; None: once.
        predicted: [N, C] log-probabilities of the reward model; None before the first one.
        draw_samples: draws log-probabilities [S, N, C] from the reward model's posterior, or returns those of its ensemble.
        represent: computes vectors [N, D] in which images are compared (`pipeline.data.representation`).
    """

    pool: Tensor
    log_policy: Tensor
    random: torch.Generator
    judged: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    times: Tensor | None = None
    predicted: Tensor | None = None
    draw_samples: Callable[[], Tensor] | None = None
    represent: Callable[[], np.ndarray] | None = None

    @cached_property
    def features(self) -> np.ndarray:
        """Vectors [N, D] of all images."""
        if self.represent is None:
            raise UserError(
                "collect.strategy: it compares images with each other, which this teacher has no features for"
            )
        return self.represent()

    @cached_property
    def samples(self) -> Tensor:
        """Log-probabilities [S, N, C] under S draws from the reward model's posterior."""
        if self.draw_samples is None:
            raise UserError("collect.strategy: it needs the posterior of a reward model, and there is none yet")
        return self.draw_samples()

    @property
    def log_mean(self) -> Tensor:
        """The reward model's log-probabilities [N, C]; the policy's before the first one."""
        return self.log_policy if self.predicted is None else self.predicted

    @cached_property
    def covered(self) -> Tensor:
        """Row numbers of the judged images that were asked about more often than the least asked one of the pool.

        Until every image of the pool was asked about, these are all judged ones; then those of the present pass over them.
        """
        asked = torch.zeros(len(self.log_policy), dtype=torch.long)
        asked[self.judged] = torch.ones_like(self.judged) if self.times is None else self.times
        return self.judged[asked[self.judged] > asked[self.pool].min()]

    def suited_to(self, kind: JudgmentKind, count: int) -> Candidates:
        """The same with only those images in the pool that suit `count` questions of a kind; themselves if these are few."""
        suited = kind.suited(self.log_policy)
        if suited is None:
            return self
        pool = self.pool[suited[self.pool]]
        if int((~torch.isin(pool, self.covered)).sum()) < images_of(kind, count):
            return self
        other = copy.copy(self)  # which keeps features and samples that are known already
        object.__setattr__(other, "pool", pool)
        return other

    def fresh(self) -> Tensor:
        """The images of the pool that were asked about least often: not at all, as long as there are such."""
        return self.pool[~torch.isin(self.pool, self.covered)]


class QueryStrategy(Protocol):
    """Chooses queries."""

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        """`count` queries of a kind, the most valuable first; if possible a larger `count` only appends queries.

        Raises:
            UserError: too few images or classes.
        """


def images_of(kind: JudgmentKind, count: int) -> int:
    """How many images `count` questions are about."""
    return count * kind.rows_per_question * kind.images_compared


def images_ranked(kind: JudgmentKind, count: int) -> int:
    """How many images a strategy ranks for `count` questions: more for pages, which take the first ones of one class."""
    return images_of(kind, count) * (RANKED_FOR_PAGES if kind.rows_per_question > 1 else 1)


def about(kind: JudgmentKind, rows: Tensor, count: int, candidates: Candidates) -> Queries:
    """`count` questions about rows [R], the most valuable first; where the kind asks about labels, the policy draws them.

    A kind that shows a page of images arranges them in pages, and one that compares images pairs them. If the rows are too
    few, other images join them, those first that were asked about least often.
    """
    rows = filled(rows, max(len(rows), images_of(kind, count)), candidates)
    if kind.images_compared * kind.rows_per_question > 1:
        return kind.arrange(rows, count, candidates.log_policy, candidates.random)
    queries = kind.query_each(rows)
    if queries is not None:
        return queries
    each = [kind.draw(row[None], 1, candidates.log_policy, candidates.random) for row in rows]
    return Queries(kind.name, torch.cat([one.rows for one in each]), torch.cat([one.labels for one in each]))


def filled(rows: Tensor, count: int, candidates: Candidates) -> Tensor:
    """`count` rows: those chosen, then other images in random order, the least asked ones first, over and over."""
    other = candidates.pool[~torch.isin(candidates.pool, rows)]
    if len(rows) < count:
        other = other[torch.randperm(len(other), generator=candidates.random)]
        other = other[torch.isin(other, candidates.covered).long().argsort(stable=True)]
    every = torch.cat([rows, other])
    return every.repeat(-(-count // len(every)))[:count]


def seed_of(random: torch.Generator) -> int:
    """A seed for libraries that have random streams of their own."""
    return int(torch.randint(2**31 - 1, (1,), generator=random))


strategies: Registry[QueryStrategy] = Registry("query strategy", "image_rlhf.query_strategies")
