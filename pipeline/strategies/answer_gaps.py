"""Strategies that choose questions by the gap between their likeliest answers: near ties, or large gaps."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.config import RewardConfig
from pipeline.kinds import JudgmentKind, Queries
from pipeline.strategies.base import Candidates, about, filled, images_of
from pipeline.strategies.coverage import typical_rows

DRAWN = 10  # times as many questions are drawn as are asked


class ByGap:
    """Questions by the gap between their two likeliest answers, in nats, under the reward model.

    Asking about near ties teaches most where answers are right (2602.01581); asking about large gaps gives answers that are
    rarely wrong (ActiveUltraFeedback, 2603.09692).

    Args:
        large: ask the questions of the largest gaps, not of the smallest.
    """

    def __init__(self, *, large: bool) -> None:
        self.large = large

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        if candidates.predicted is None:
            return about(kind, typical_rows(candidates, images_of(kind, count)), candidates)
        left = candidates.fresh()
        each = kind.query_each(left)
        if each is not None:  # one question about each image
            rows = left[self._order(kind, each, candidates.predicted)][:count]
            return about(kind, filled(rows, count, candidates.pool), candidates)
        drawn = distinct(kind.draw(left, DRAWN * count, candidates.log_policy, candidates.random), count)
        return drawn.pick(self._order(kind, drawn, candidates.predicted)[:count])

    def _order(self, kind: JudgmentKind, queries: Queries, utilities: Tensor) -> Tensor:
        return torch.argsort(answer_gap(kind, queries, utilities), descending=self.large, stable=True)


def distinct(queries: Queries, count: int) -> Queries:
    """Each question once, as long as at least `count` are left."""
    _, number = torch.unique(torch.cat([queries.rows, queries.labels], 1), dim=0, return_inverse=True)
    first = {one: place for place, one in reversed(list(enumerate(number.tolist())))}
    return queries.pick(torch.tensor(sorted(first.values()))) if len(first) >= count else queries


def answer_gap(kind: JudgmentKind, queries: Queries, utilities: Tensor) -> Tensor:
    """Difference [Q] between the log-probabilities of each question's two likeliest answers.

    A question that is stored as several answers, such as a page, has the mean over these.

    Args:
        utilities: [N, C] of all images.
    """
    nothing, classes = torch.empty(0, dtype=torch.long), utilities.shape[1]
    likelihood = kind.likelihood
    parameters = likelihood.parameters(nothing, likelihood.count_answers(nothing, classes), RewardConfig())
    tiles = queries.rows.shape[1] if kind.rows_per_question > 1 else 1
    rows = queries.rows.reshape(-1, 1) if tiles > 1 else queries.rows
    if rows.shape[1] < queries.labels.shape[1]:  # labels of one image are compared
        rows = rows.expand(-1, queries.labels.shape[1])
    labels = queries.labels.repeat_interleave(tiles, 0)
    if 0 < labels.shape[1] < rows.shape[1]:  # images are compared under one label
        labels = labels.expand(-1, rows.shape[1])
    with torch.no_grad():
        first, second = likelihood.log_p(parameters, utilities, rows, labels).topk(2, dim=-1).values.unbind(-1)
    return (first - second).view(len(queries), tiles).mean(1)
