"""Judgments as a simulated teacher makes them."""

from __future__ import annotations

from feedback_store.records import Comparison


def comparisons(count: int) -> list[Comparison]:
    """As a simulated teacher makes them: one append of many."""
    return [
        Comparison(
            id=f"judgment-{number}",
            created_at="2026-11-21T10:00:00.000Z",
            annotator="simulated-equal",
            source="simulated",
            image_a=f"image-{number % 7}",
            label_a="ant",
            image_b=f"image-{number % 7}",
            label_b="bee",
            choice=("a", "b", "tie", "cant_tell")[number % 4],
            response_ms=number,
        )
        for number in range(count)
    ]
