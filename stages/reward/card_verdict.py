"""The card's verdict in words, and about how many more judgments would make it another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.ui.html import percent

WIDE = 0.10  # half-width of the accuracy's interval beyond which held-out judgments are too few to say anything
GAIN = 0.005  # estimated gain of the next 100 judgments from which more of them are worth asking for

READY, MORE, CHANCE = "ready", "needs more judgments", "no better than chance"


def verdict(heldout: dict[str, Any], gain: float | None, more: int | None = None) -> dict[str, str]:
    """The verdict and its reason, from the thresholds above.

    Args:
        more: about how many more judgments would settle it, as `more_judgments` estimates.
    """
    half = (heldout["high"] - heldout["low"]) / 2
    low, high, chance = percent(heldout["low"]), percent(heldout["high"]), percent(heldout["chance"])
    seen = f"it agrees with {percent(heldout['accuracy'])} [{low}, {high}] of {heldout['judgments']} held-out judgments"
    about = f"; about {more:,} more judgments" if more else ""
    if heldout["low"] <= heldout["chance"]:
        if half <= WIDE:
            outside = f"{about} would tell the two apart, if it stays as good as it is" if more else ""
            why = f"{seen}, and chance would with {chance}, which lies within that interval{outside}"
            return {"short": CHANCE, "why": why}
        known = f"{about} would make it narrow enough" if more else ""
        return {
            "short": MORE,
            "why": f"{seen}; that cannot be told from chance ({chance}), the interval is too wide{known}",
        }
    if half > WIDE:
        known = (
            f"{about} would make it so narrow: not for a better model, but to know how good this one is" if more else ""
        )
        why = f"{seen}, better than chance ({chance}), but the interval is wider than ±{percent(WIDE, 0)}{known}"
        return {"short": MORE, "why": why}
    if gain is not None and gain >= GAIN:
        until = f"{about} bring that below {percent(GAIN)}" if more else ""
        return {
            "short": MORE,
            "why": f"{seen}; the next 100 judgments should still gain {100 * gain:.1f} points{until}",
        }
    return {"short": READY, "why": f"{seen}, and chance would with {chance}"}


def next_hundred(curve: Sequence[dict[str, float]]) -> float | None:
    """Estimated gain of the next 100 judgments: accuracy = a - b / sqrt(n), fitted to the learning curve."""
    slope = _slope(curve)
    n = curve[-1]["judgments"] if curve else 0.0
    return None if slope is None else max(0.0, slope * (n**-0.5 - (n + 100) ** -0.5))


def _slope(curve: Sequence[dict[str, float]]) -> float | None:
    """b of accuracy = a - b / sqrt(n); None for a curve of one point."""
    if len(curve) < 2:
        return None
    n = np.array([point["judgments"] for point in curve], dtype=float)
    return -float(np.polyfit(n**-0.5, np.array([point["accuracy"] for point in curve]), 1)[0])


def more_judgments(heldout: dict[str, Any], curve: Sequence[dict[str, float]], used: int) -> int | None:
    """About how many more judgments, held-out share included, until the verdict would be another; None if it is ready,
    or if no number would do.

    An interval's half-width shrinks like 1 / sqrt(judgments): too wide a one is to become WIDE, one that has chance in
    it so narrow that chance lies outside. Where only the gain is too large, its curve says when it falls below GAIN.
    """
    half, above = (heldout["high"] - heldout["low"]) / 2, heldout["accuracy"] - heldout["chance"]
    if half > WIDE:
        times = (half / WIDE) ** 2
    elif heldout["low"] <= heldout["chance"]:
        if above <= 0:
            return None
        times = ((heldout["accuracy"] - heldout["low"]) / above) ** 2
    elif (gain := next_hundred(curve)) is not None and gain >= GAIN:
        # a - b / sqrt(n) rises by about 50 b / (n + 50)^1.5 over the next 100.
        times = ((50 * (_slope(curve) or 0.0) / GAIN) ** (2 / 3) - 50) / curve[-1]["judgments"]
    else:
        return None
    return _rounded_up(used * (times - 1))


def _rounded_up(value: float) -> int:
    """To two figures, and to tens at least: it is an estimate."""
    step = 10 ** max(1, math.floor(math.log10(max(value, 1))) - 1)
    return max(step, math.ceil(round(value / step, 6)) * step)
