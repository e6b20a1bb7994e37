"""The card's verdict, and an estimate of how many more judgments would change it (docs/method.md 8)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.ui.html import percent

MAX_HALF_WIDTH = 0.10  # of the accuracy's interval; beyond it, there are too few held-out judgments for a verdict
MIN_GAIN = 0.005  # estimated gain of the next 100 judgments above which more are worth collecting

READY, MORE, CHANCE = "ready", "needs more judgments", "no better than chance"


def verdict(heldout: dict[str, Any], gain: float | None, more: int | None = None) -> dict[str, str]:
    """The verdict and its reason, from the thresholds above.

    Args:
        more: estimated number of judgments that would change the verdict, from `estimate_more_judgments`.
    """
    half = (heldout["high"] - heldout["low"]) / 2
    low, high, chance = percent(heldout["low"]), percent(heldout["high"]), percent(heldout["chance"])
    seen = f"it agrees with {percent(heldout['accuracy'])} [{low}, {high}] of {heldout['judgments']} held-out judgments"
    about = f"; about {more:,} more judgments" if more else ""
    if heldout["low"] <= heldout["chance"]:
        if half <= MAX_HALF_WIDTH:
            outside = f"{about} would tell the two apart if the accuracy stays the same" if more else ""
            why = f"{seen}; chance ({chance}) is within that interval{outside}"
            return {"short": CHANCE, "why": why}
        known = f"{about} would make it narrow enough" if more else ""
        return {
            "short": MORE,
            "why": f"{seen}; the interval is too wide to tell that from chance ({chance}){known}",
        }
    if half > MAX_HALF_WIDTH:
        known = f"{about} would make it narrow enough: not for a better model, but to know its accuracy" if more else ""
        why = f"{seen}, better than chance ({chance}), but the interval is wider than ±{percent(MAX_HALF_WIDTH, 0)}{known}"
        return {"short": MORE, "why": why}
    if gain is not None and gain >= MIN_GAIN:
        until = f"{about} bring that below {percent(MIN_GAIN)}" if more else ""
        return {
            "short": MORE,
            "why": f"{seen}; the next 100 judgments should still gain {100 * gain:.1f} points{until}",
        }
    return {"short": READY, "why": f"{seen}, better than chance ({chance})"}


def estimate_gain(curve: Sequence[dict[str, float]]) -> float | None:
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


def estimate_more_judgments(heldout: dict[str, Any], curve: Sequence[dict[str, float]], used: int) -> int | None:
    """About how many more judgments, held-out share included, would change the verdict; None if it is ready, or if no
    number of them would.

    An interval's half-width shrinks like 1 / sqrt(judgments). An interval that is too wide must shrink to
    MAX_HALF_WIDTH; one that contains chance must shrink until it does not. If only the gain is too large, the learning
    curve gives the number of judgments from which it is below MIN_GAIN.
    """
    half, above = (heldout["high"] - heldout["low"]) / 2, heldout["accuracy"] - heldout["chance"]
    if half > MAX_HALF_WIDTH:
        times = (half / MAX_HALF_WIDTH) ** 2
    elif heldout["low"] <= heldout["chance"]:
        if above <= 0:
            return None
        times = ((heldout["accuracy"] - heldout["low"]) / above) ** 2
    elif (gain := estimate_gain(curve)) is not None and gain >= MIN_GAIN:
        # a - b / sqrt(n) rises by about 50 b / (n + 50)^1.5 over the next 100.
        times = ((50 * (_slope(curve) or 0.0) / MIN_GAIN) ** (2 / 3) - 50) / curve[-1]["judgments"]
    else:
        return None
    return _rounded_up(used * (times - 1))


def _rounded_up(value: float) -> int:
    """Rounded up to two significant digits and at least to tens, because it is an estimate."""
    step = 10 ** max(1, math.floor(math.log10(max(value, 1))) - 1)
    return max(step, math.ceil(round(value / step, 6)) * step)
