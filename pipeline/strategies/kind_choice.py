"""Which kind of question tells most per second of a person."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.kinds import JudgmentKind, Queries
from pipeline.strategies.answer_gaps import answer_log_p
from pipeline.strategies.base import Candidates
from pipeline.strategies.uncertainty import entropy_of


def information_per_second(kind: JudgmentKind, queries: Queries, candidates: Candidates) -> float:
    """Entropy of the answers to these questions, in nats, per second that they usually take.

    If answers are right, an answer tells as much about the class as its own entropy. Exceptions on a page take time to
    mark: as many are expected as the prediction says.
    """
    log_p, classes = candidates.log_mean, candidates.log_mean.shape[1]
    entropies = entropy_of(answer_log_p(kind, queries, log_p)).view(len(queries), -1).sum(1)
    seconds = []
    for own, labels in zip(queries.rows, queries.labels, strict=True):
        marks = round(float((1 - log_p[own, labels[0]].exp()).sum())) if kind.rows_per_question > 1 else 0
        seconds.append(kind.usual_seconds(classes, len(own), marks))
    return float(entropies.sum()) / sum(seconds)


def most_informative(plans: Sequence[tuple[JudgmentKind, Queries]], candidates: Candidates) -> Queries:
    """Of questions that a strategy chose for several kinds, those that tell most per second; of equal ones the first."""
    return max(plans, key=lambda plan: information_per_second(plan[0], plan[1], candidates))[1]
