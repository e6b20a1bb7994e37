"""A query strategy of another package, in one file: the images of which the policy is least certain, each once, first."""

from __future__ import annotations

from pipeline.kinds import JudgmentKind, Queries
from pipeline.strategies import Candidates


class MostUncertain:
    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        log_p = candidates.log_policy[candidates.pool]
        entropy = -(log_p.exp() * log_p).sum(1)
        best = candidates.pool[entropy.argsort(descending=True, stable=True)][:count]
        return kind.draw(best, count, candidates.log_policy, candidates.random)


STRATEGY = MostUncertain()
