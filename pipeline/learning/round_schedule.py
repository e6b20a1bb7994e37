"""How many questions each round asks (schedules of PEBBLE and B-Pref, Lee et al. 2021, and of imitation)."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.errors import UserError

# Relative number of questions of a round, from its number and the number of rounds.
SHAPES: dict[str, Callable[[int, int], float]] = {
    "constant": lambda number, rounds: 1.0,
    "hyperbolic": lambda number, rounds: 1 / (1 + number),
    "inverse_quadratic": lambda number, rounds: 1 / (1 + number) ** 2,
    "decreasing": lambda number, rounds: float(rounds - number),
    "increasing": lambda number, rounds: float(1 + number),
}


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
    weights = [SHAPES[shape](number, rounds) for number in range(rounds)]
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


def batches_of(batches: list[int], rounds: int | None, total: int | None) -> list[int]:
    """`rounds.batches`, checked against the number of rounds and of questions if these are set.

    Raises:
        UserError: they contradict each other.
    """
    if rounds not in (None, len(batches)):
        raise UserError(f"rounds.batches has {len(batches)} rounds, not {rounds}; change one of the two")
    if total not in (None, sum(batches)):
        raise UserError(
            f"rounds.batches adds up to {sum(batches)} questions, and collect.count is {total}; set collect.count to "
            f"{sum(batches)} or null"
        )
    return batches
