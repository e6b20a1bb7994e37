"""How many questions each round asks (schedules of PEBBLE, Lee et al. 2021, and of imitation)."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import Config
from pipeline.errors import UserError

SHAPES: dict[str, Callable[[int], float]] = {
    "constant": lambda number: 1.0,
    "hyperbolic": lambda number: 1 / (1 + number),
    "inverse_quadratic": lambda number: 1 / (1 + number) ** 2,
}


def questions_of(config: Config, rounds: int | None) -> list[int]:
    """Questions of each round.

    Args:
        rounds: their number; None: `rounds.count`, or as many as `rounds.batches` has.

    Raises:
        UserError: the settings contradict each other, or there are fewer questions than rounds.
    """
    settings, total = config.rounds, config.collect.count
    if settings.batches is not None:
        if rounds not in (None, len(settings.batches)):
            raise UserError(f"rounds.batches has {len(settings.batches)} rounds, not {rounds}; change one of the two")
        if total not in (None, sum(settings.batches)):
            raise UserError(
                f"rounds.batches adds up to {sum(settings.batches)} questions, and collect.count is {total}; set "
                f"collect.count to {sum(settings.batches)} or null"
            )
        return settings.batches
    if total is None:
        raise UserError("collect.count is null; set the number of questions of all rounds, or rounds.batches")
    return questions_of_rounds(total, rounds or settings.count or 3, settings.schedule, settings.initial_share)


def questions_of_rounds(total: int, rounds: int, shape: str, initial_share: float | None) -> list[int]:
    """Questions of each round; they add up to `total`, and each round has at least one.

    Args:
        shape: one of SHAPES: relative number of questions of each round.
        initial_share: of all questions that the first round asks; None: as the shape says.

    Raises:
        UserError: fewer questions than rounds.
    """
    if total < rounds:
        raise UserError(f"collect.count is {total}, fewer than {rounds} rounds; raise it, or ask in fewer rounds")
    weights = [SHAPES[shape](number) for number in range(rounds)]
    if initial_share is not None and rounds > 1:
        rest = sum(weights[1:])
        weights = [initial_share, *((1 - initial_share) * weight / rest for weight in weights[1:])]
    whole, passed = sum(weights), 0.0
    ends: list[int] = []
    for number, weight in enumerate(weights):
        passed += weight
        earliest = (ends[-1] if ends else 0) + 1
        latest = total - (rounds - 1 - number)
        ends.append(min(max(round(total * passed / whole), earliest), latest))
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
