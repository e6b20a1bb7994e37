"""Which kind of question tells most per second of a person."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.kinds import JudgmentKind
from pipeline.strategies.answer_gaps import answer_log_p
from pipeline.strategies.base import Candidates
from pipeline.strategies.uncertainty import entropy_of

SAMPLE = 500  # images on which the kinds are compared


def information_per_second(kind: JudgmentKind, rows: Tensor, candidates: Candidates) -> float:
    """Entropy of the answers to questions about these images, in nats, per second that the questions usually take.

    If answers are right, an answer tells as much about the class as its own entropy. Exceptions on a page take time to
    mark: as many are expected as the prediction says.
    """
    log_p, classes = candidates.log_mean, candidates.log_mean.shape[1]
    questions = max(1, len(rows) // kind.rows_per_question)
    queries = kind.draw(rows, questions, candidates.log_policy, candidates.random)
    entropies = entropy_of(answer_log_p(kind, queries, log_p)).view(len(queries), -1).sum(1)
    seconds = []
    for own, labels in zip(queries.rows, queries.labels, strict=True):
        marks = round(float((1 - log_p[own, labels[0]].exp()).sum())) if kind.rows_per_question > 1 else 0
        seconds.append(kind.usual_seconds(classes, len(own), marks))
    return float(entropies.sum()) / sum(seconds)


def most_informative(choices: Sequence[JudgmentKind], candidates: Candidates) -> JudgmentKind:
    """The kind of the most information per second about the images that the model is least sure of."""
    left = candidates.fresh()
    unsure = torch.argsort(entropy_of(candidates.log_mean[left]), descending=True, stable=True)[:SAMPLE]
    return max(choices, key=lambda kind: information_per_second(kind, left[unsure], candidates))
