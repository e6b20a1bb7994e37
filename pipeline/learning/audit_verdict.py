"""Whether the audit answers are enough, and about how many more would be (docs/audit.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.learning.audit_estimate import AccuracyEstimate, Audited, estimate_accuracy

ENOUGH, MORE = "enough", "more needed"
MAX_TIMES = 32  # forecasts beyond this multiple of the present answers are not worth telling
FORECAST_STEPS = 4  # of bisection


def verdict(
    estimate: AccuracyEstimate,
    width: float,
    audited: Sequence[Audited],
    classes: int,
    *,
    gold: tuple[int, int] = (0, 0),
) -> tuple[str, str]:
    """`enough` or `more needed`, and the reason as part of a sentence.

    Args:
        width: widest interval that is enough (`collect.audit_width`).
        audited, classes, gold: as in `estimate_accuracy`.
    """
    points = f"the 95 % interval is {100 * estimate.width:.0f} points wide"
    wanted = f"{100 * width:.0f} (collect.audit_width)"
    if estimate.width <= width:
        return ENOUGH, f"{points}, and {wanted} are enough"
    more = forecast_more(width, audited, classes, gold=gold)
    if more is not None:
        return MORE, (
            f"{points}, more than {wanted}; about {more:,} more audit answers would make it narrow enough: raise "
            "collect.count or collect.audit_fraction"
        )
    return MORE, (
        f"{points}, more than {wanted}, and more audit answers alone would not make it narrow enough, because too little is "
        "known about the annotators' own mistakes: let two people answer each question (collect.judgments_per_item), raise "
        "collect.repeat_fraction or add gold items (collect.gold_fraction)"
    )


def forecast_more(
    width: float, audited: Sequence[Audited], classes: int, *, gold: tuple[int, int] = (0, 0)
) -> int | None:
    """About how many more answers like the present ones make the interval narrow enough; None if no number of them does."""

    def narrow(times: float) -> bool:
        return estimate_accuracy(audited, classes, gold=gold, times=times).width <= width

    low, high = 1.0, 2.0
    while not narrow(high):
        if high >= MAX_TIMES:
            return None
        low, high = high, 2 * high
    for _ in range(FORECAST_STEPS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if narrow(middle) else (middle, high)
    answers = sum(len(own) for one in audited for own in one.people)
    return max(10, 10 * math.ceil((high - 1) * answers / 10))
