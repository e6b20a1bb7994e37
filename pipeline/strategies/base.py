"""Query strategies: which questions of a kind are worth asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from feedback_store.registry import Registry
from pipeline.kinds import JudgmentKind, Queries


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a strategy chooses from.

    Attributes:
        pool: [P] row numbers of the images to ask about.
        log_policy: [N, C] log-probabilities of the current policy.
        random: stream of everything the strategy draws.
    """

    pool: Tensor
    log_policy: Tensor
    random: torch.Generator


class QueryStrategy(Protocol):
    """Chooses questions."""

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        """`count` questions of a kind, the most valuable first; with a larger count the same ones first where possible.

        Raises:
            UserError: there is nothing to ask about.
        """


strategies: Registry[QueryStrategy] = Registry("query strategy", "image_rlhf.query_strategies")
