"""Strategies that ask where the model is unsure: disagreement, entropy and margin, alone or spread by k-center.

Disagreement, entropy and their combinations with k-center are B-Pref's feed types 1, 2, 4 and 5 (Lee et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pipeline.kinds import JudgmentKind, Queries
from pipeline.learning.laplace import log_mean_probability
from pipeline.strategies.base import Candidates, about, images_of, images_ranked
from pipeline.strategies.coverage import k_center, typical_rows

Score = Callable[[Candidates], Tensor]
MORE = 10  # times as many candidates as questions are spread by k-center, as in B-Pref


def entropy(candidates: Candidates) -> Tensor:
    """Entropy of the prediction, [N], in nats."""
    return entropy_of(candidates.log_mean)


def entropy_of(log_p: Tensor) -> Tensor:
    """Entropy [...] of log-probabilities [..., C], in nats."""
    return -(log_p.exp() * log_p.clamp_min(-1e4)).sum(-1)


def disagreement(candidates: Candidates) -> Tensor:
    """Mutual information between the class and the model's parameters, [N], in nats (BALD; Houlsby et al. 2011)."""
    samples = candidates.samples
    return (entropy_of(log_mean_probability(samples)) - entropy_of(samples).mean(0)).clamp_min(0.0)


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
        if candidates.predicted is None:
            return about(kind, typical_rows(candidates, images_of(kind, count)), count, candidates)
        candidates, wanted = candidates.suited_to(kind, count), images_ranked(kind, count)
        left = candidates.fresh()
        order = torch.argsort(self.score(candidates)[left], descending=True, stable=True)
        best = left[order[: MORE * wanted if self.spread else wanted]]
        rows = k_center(candidates, best, wanted) if self.spread else best
        return about(kind, rows, count, candidates)
