"""Sentences about what the answers have achieved, and when to stop, for people who answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.learning.audit_verdict import ENOUGH
from pipeline.learning.person_seconds import duration

GO_ON, STOP, UNKNOWN = "go on", "stop", "not known yet"


def advice(achieved: Mapping[str, Any], min_gain: float) -> dict[str, Any]:
    """`sentences` and `advice`: go on, stop, or not known yet.

    Args:
        achieved: rounds, reference, estimate, forecast and audit_fraction, as `stages.rounds.progress` makes them.
        min_gain: accuracy per minute below which to stop (`live.min_gain`).
    """
    rounds, estimate = achieved["rounds"], achieved["estimate"]
    if not rounds:
        return {
            "advice": UNKNOWN,
            "sentences": ["Nothing was trained yet; the first training needs a few more answers."],
        }
    if estimate is None:
        return {"advice": UNKNOWN, "sentences": [_trained(rounds), *_without_audit(achieved["audit_fraction"])]}
    sentences = [_trained(rounds), _accuracy(achieved)]
    short, more = _more(achieved["forecast"], estimate, min_gain)
    return {"advice": short, "sentences": [*sentences, more]}


def _trained(rounds: Sequence[Mapping[str, Any]]) -> str:
    newest, times = rounds[-1], "once" if len(rounds) == 1 else f"{len(rounds)} times"
    return f"Trained {times}, the last time with {newest['answers']} answers, {spent(newest)}."


def spent(point: Mapping[str, Any]) -> str:
    """The seconds of a round; those of simulated teachers are called simulated."""
    real, simulated = point["seconds"] - point["simulated"], point["simulated"]
    parts = [f"about {duration(real)} of people's time"] if real > 0 or not simulated else []
    return " and ".join([*parts, *([f"about {duration(simulated)} of simulated time"] if simulated else [])])


def _without_audit(fraction: float) -> list[str]:
    if fraction:
        return ["No audit question was answered yet, so that the accuracy cannot be estimated. One comes soon."]
    return [
        "The accuracy cannot be estimated: that needs questions about images that no model chose and nothing is trained on, "
        "and there are none (collect.audit_fraction is 0; 0.1 is sensible).",
        "For the same reason nobody can say what another minute would bring, or when to stop.",
    ]


def _accuracy(achieved: Mapping[str, Any]) -> str:
    estimate, before = achieved["estimate"], achieved["reference"]
    return (
        (
            f"Estimated accuracy {estimate['accuracy']:.0%}, with 95 % probability between {estimate['low']:.0%} and "
            f"{estimate['high']:.0%}, from {estimate['answers']} audit answers; before the first answer it was {before['accuracy']:.0%}."
        )
        .replace("%", " %")
        .replace("95  %", "95 %")
    )


def points(share: float) -> str:
    """A difference of accuracies for people: `1.2 points`."""
    value = 100 * share
    return "less than 0.1 points" if value < 0.1 else f"{value:.1f} points"


def _more(forecast: Mapping[str, Any] | None, estimate: Mapping[str, Any], min_gain: float) -> tuple[str, str]:
    narrow = estimate["verdict"] == ENOUGH
    if forecast is None:
        return UNKNOWN, "It is too early to say what another minute brings; go on."
    gain = forecast["minute"]
    expected = (
        f"another minute is expected to bring {points(gain['gain'])} (95 % interval {100 * gain['low']:.1f} to "
        f"{100 * gain['high']:.1f})"
    )
    if gain["gain"] >= min_gain:
        return GO_ON, f"Go on: {expected}."
    if narrow:
        return STOP, f"You can stop: {expected}, and the estimate is precise enough."
    return GO_ON, (
        f"More answers teach little: {expected}. The estimate is not precise yet; stop here if you need no narrower interval."
    )
