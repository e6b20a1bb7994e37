"""Uniform: images in random order, labels drawn from the current policy (METHOD 7; B-Pref's feed type 0)."""

from __future__ import annotations

from pipeline.kinds import JudgmentKind, Queries
from pipeline.strategies.base import Candidates, filled, images_of


class Uniform:
    """Asks about all images equally often; the kind draws the labels."""

    def choose(self, kind: JudgmentKind, count: int, candidates: Candidates) -> Queries:
        fresh, wanted = candidates.fresh(), images_of(kind, count)
        if len(fresh) < wanted < len(candidates.pool):  # judged images wait until the others have been asked about
            fresh = filled(fresh, wanted, candidates)
        pool = fresh if len(fresh) >= wanted else candidates.pool
        return kind.draw(pool, count, candidates.log_policy, candidates.random)
