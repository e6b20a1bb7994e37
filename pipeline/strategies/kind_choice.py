"""Which kind of question tells most per second of a person."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.config import RewardConfig
from pipeline.kinds import JudgmentKind, Queries
from pipeline.kinds.likelihood import Likelihood
from pipeline.kinds.probabilities import ETA_PRIOR, unreliable
from pipeline.strategies.answer_gaps import answer_log_p
from pipeline.strategies.base import Candidates
from pipeline.strategies.uncertainty import entropy_of

DRAWS = 32  # of the images' classes
RELIABILITY = ETA_PRIOR / (ETA_PRIOR + 1)  # the prior mean of a person's eta
SURE = 30.0  # nats between the class of an image and the others, if it is known


def information_per_second(kind: JudgmentKind, queries: Queries, candidates: Candidates) -> float:
    """What the answers to these questions tell about the images' classes, in nats, per second that they usually take.

    Classes are as probable as predicted, and people err as the priors of their error rates say. The mutual information is
    the entropy of the answers less what is left of it once the classes are known. Exceptions on a page take time to mark:
    as many are expected as the prediction says.
    """
    rows = torch.unique(queries.rows)
    own = Queries(queries.kind, torch.searchsorted(rows, queries.rows), queries.labels)
    log_p = candidates.log_mean[rows]
    p, classes = log_p.exp(), log_p.shape[1]
    information = float(answer_entropy(kind, own, log_p))
    for _ in range(DRAWS):
        drawn = torch.multinomial(p, 1, generator=candidates.random)
        known = torch.full_like(log_p, -SURE).scatter_(1, drawn, 0.0)
        information -= float(answer_entropy(kind, own, known)) / DRAWS
    seconds = []
    for images, labels in zip(own.rows, own.labels, strict=True):
        marks = round(float((1 - p[images, labels[0]]).sum())) if kind.rows_per_question > 1 else 0
        seconds.append(kind.usual_seconds(classes, len(images), marks))
    return information / sum(seconds)


def answer_entropy(kind: JudgmentKind, queries: Queries, log_p: Tensor) -> Tensor:
    """Entropy of the answers of people who err as usual, in nats, summed over all answers.

    Args:
        log_p: [N, C] log-probabilities of the images' classes.
    """
    return entropy_of(_with_usual_errors(kind.likelihood, answer_log_p(kind, queries, log_p))).sum()


def _with_usual_errors(likelihood: Likelihood, log_p: Tensor) -> Tensor:
    """log P of every answer [M, K] at the priors' error rates, from that of people who make none."""
    with torch.no_grad():
        if likelihood.has_errors:
            nobody = likelihood.errors(torch.zeros(1, 2, 2))
            return likelihood.with_errors(nobody, log_p, torch.zeros(len(log_p), dtype=torch.long))
        nothing = torch.empty(0, dtype=torch.long)
        parameters = likelihood.parameters(nothing, log_p.shape[1], RewardConfig())
        log_eta = log_p.new_full((len(log_p),), math.log(RELIABILITY))
        log_not = torch.full_like(log_eta, math.log1p(-RELIABILITY))
        return unreliable(log_p, log_eta, log_not, likelihood.unreliable(parameters, log_p))


def most_informative(plans: Sequence[tuple[JudgmentKind, Queries]], candidates: Candidates) -> Queries:
    """Of questions that a strategy chose for several kinds, those that tell most per second; of equal ones the first."""
    return max(plans, key=lambda plan: information_per_second(plan[0], plan[1], candidates))[1]
