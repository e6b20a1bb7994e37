"""The interface of query strategies, which choose the questions that are asked (METHOD 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from feedback_store.registry import Registry
from pipeline.kinds import JudgmentKind, Queries


@dataclass(frozen=True, eq=False)
class Candidates:
    """Inputs of a strategy.

    Attributes:
        pool: [P] row numbers of the images that can be asked about.
        log_policy: [N, C] log-probabilities of the current policy.
        random: random stream of the strategy.
    """

    pool: Tensor
    log_policy: Tensor
    random: torch.Generator


class QueryStrategy(Protocol):
    """Chooses queries."""

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        """`count` queries of a kind, the most valuable first; if possible a larger `count` only appends queries.

        Raises:
            UserError: too few images or classes.
        """


strategies: Registry[QueryStrategy] = Registry("query strategy", "image_rlhf.query_strategies")
