"""Strategies that choose questions by the gap between their likeliest answers: near ties, or large gaps."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.config import RewardConfig
from pipeline.kinds import JudgmentKind, Queries
from pipeline.strategies.base import Candidates, about, filled, images_of, images_ranked
from pipeline.strategies.coverage import typical_rows

TIMES_DRAWN = 10  # as many questions are drawn as are asked


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
        if (predicted := candidates.predicted) is None:
            return about(kind, typical_rows(candidates, images_of(kind, count)), count, candidates)
        candidates = candidates.suited_to(kind, count)
        left = candidates.fresh()
        left = filled(left, max(len(left), min(images_of(kind, count), len(candidates.pool))), candidates)
        if kind.rows_per_question > 1:  # images of pages, whose class is not known yet
            first, second = predicted[left].topk(2, dim=-1).values.unbind(-1)
            rows = left[torch.argsort(first - second, descending=self.large, stable=True)]
            return about(kind, rows[: images_ranked(kind, count)], count, candidates)
        each = kind.query_each(left)
        if each is not None:  # one question about each image
            rows = left[self._order(kind, each, predicted)][:count]
            return about(kind, rows, count, candidates)
        drawn = distinct(kind.draw(left, TIMES_DRAWN * count, candidates.log_policy, candidates.random))
        order = self._order(kind, drawn, predicted)
        return drawn.pick(order[torch.arange(count) % len(order)])

    def _order(self, kind: JudgmentKind, queries: Queries, utilities: Tensor) -> Tensor:
        return torch.argsort(answer_gap(kind, queries, utilities), descending=self.large, stable=True)


def distinct(queries: Queries) -> Queries:
    """Each question once; the order of the sides makes no other question."""
    sides = torch.cat([queries.rows.sort(1).values, queries.labels.sort(1).values], 1)
    _, number = torch.unique(sides, dim=0, return_inverse=True)
    first = {one: place for place, one in reversed(list(enumerate(number.tolist())))}
    return queries.pick(torch.tensor(sorted(first.values())))


def answer_gap(kind: JudgmentKind, queries: Queries, utilities: Tensor) -> Tensor:
    """Difference [Q] between the log-probabilities of each question's two likeliest answers.

    A question that is stored as several answers, such as a page, has the mean over these.

    Args:
        utilities: [N, C] of all images.
    """
    first, second = answer_log_p(kind, queries, utilities).topk(2, dim=-1).values.unbind(-1)
    return (first - second).view(len(queries), -1).mean(1)


def answer_log_p(kind: JudgmentKind, queries: Queries, utilities: Tensor) -> Tensor:
    """log P of every answer [Q, K] if the classes are as probable as predicted; [Q * tiles, K] for pages.

    Args:
        utilities: [N, C] log-probabilities of all images, up to a constant for each.
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
        return likelihood.log_p_if_drawn(parameters, torch.log_softmax(utilities, -1), rows, labels)
