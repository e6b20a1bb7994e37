"""How many questions each round of `make rounds` asks."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.learning.round_schedule import batches_of, questions_of_rounds


def questions_of(config: Config, rounds: int | None) -> list[int]:
    """Questions of each round.

    Args:
        rounds: their number; None: `rounds.count`, or as many as `rounds.batches` has.

    Raises:
        UserError: the settings contradict each other, or there are fewer questions than rounds.
    """
    settings, total = config.rounds, config.collect.count
    if settings.batches is not None:
        return batches_of(settings.batches, rounds, total)
    if total is None:
        raise UserError("collect.count is null; set the number of questions of all rounds, or rounds.batches")
    return questions_of_rounds(total, rounds or settings.count or 3, settings.schedule, settings.initial_share)
