"""Simulated response times: what the questions would have cost a person (METHOD 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feedback_store import limits
from pipeline.config.teachers import SimulatedConfig
from pipeline.kinds import Queries, kinds


def simulated_milliseconds(
    queries: Queries, answers: Sequence[str], classes: int, config: SimulatedConfig, random: np.random.Generator
) -> list[int] | list[None]:
    """`response_ms` [Q] of each answer, in order; None where `collect.simulated.seconds` is off.

    Log-normal around the usual seconds of the kind, divided by `speed`, growing with `fatigue`. The first Q times are
    the same for more questions.

    Args:
        answers: [Q]; each mark on a page takes time.
        random: a stream of its own, so that no answer depends on it.
    """
    count = len(queries)
    if not config.seconds:
        return [None] * count
    kind, images = kinds.get(queries.kind), queries.rows.shape[1]
    marks, of_question = np.unique([kind.count_marks(answer) for answer in answers], return_inverse=True)
    usual = np.array([kind.usual_seconds(classes, images, mark) for mark in marks.tolist()])[of_question] / config.speed
    tired = 1 + config.fatigue * np.arange(count) / 100
    seconds = usual * tired * np.exp(config.seconds_spread * random.standard_normal(count))
    return np.clip(np.rint(1000 * seconds), 1, limits.MAX_NUMBER).astype(np.int64).tolist()
