"""Strategies that ask where the model is unsure: disagreement, entropy and margin, alone or spread by k-center.

Disagreement, entropy and their combinations with k-center are B-Pref's feed types 1, 2, 4 and 5 (Lee et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.errors import UserError
from pipeline.kinds import JudgmentKind, Queries
from pipeline.strategies.base import Candidates, about, filled
from pipeline.strategies.coverage import k_center, typical_rows

Score = Callable[[Candidates], Tensor]
MORE = 10  # times as many candidates as questions are spread by k-center, as in B-Pref


def entropy(candidates: Candidates) -> Tensor:
    """Entropy of the mean prediction, [N], in nats."""
    log_p = candidates.log_mean
    return -(log_p.exp() * log_p.clamp_min(-1e4)).sum(-1)


def disagreement(candidates: Candidates) -> Tensor:
    """Mutual information between the class and the model's parameters, [N], in nats (BALD; Houlsby et al. 2011).

    Raises:
        UserError: there are fewer than two samples of the posterior.
    """
    if candidates.samples is None or len(candidates.samples) < 2:
        raise UserError("collect.strategy: disagreement needs several reward networks; set reward.members to 3 or more")
    each = -(candidates.samples.exp() * candidates.samples.clamp_min(-1e4)).sum(-1).mean(0)
    return (entropy(candidates) - each).clamp_min(0.0)


def margin(candidates: Candidates) -> Tensor:
    """Minus the difference between the probabilities of the two likeliest classes, [N]."""
    first, second = candidates.log_mean.exp().topk(2, dim=-1).values.unbind(-1)
    return second - first


class MostUncertain:
    """The images of the highest score; typical images as long as there is no model.

    Args:
        score: of all images.
        spread: of ten times as many images, those that k-center chooses.
    """

    def __init__(self, score: Score, *, spread: bool = False) -> None:
        self.score, self.spread = score, spread

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        if candidates.samples is None:
            return about(kind, typical_rows(candidates, count), candidates)
        left = candidates.fresh()
        order = torch.argsort(self.score(candidates)[left], descending=True, stable=True)
        best = left[order[: MORE * count if self.spread else count]]
        rows = k_center(candidates, best, count) if self.spread else best
        return about(kind, filled(rows, count, candidates.pool), candidates)
