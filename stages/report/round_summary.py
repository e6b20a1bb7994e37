"""The report's sentence about rounds, the time of each, and the seconds that all judgments cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from feedback_store.store import FeedbackStore
from pipeline.learning.person_seconds import duration, person_seconds
from pipeline.run.rounds_file import seconds_column
from pipeline.ui.html import percent
from stages.report.round_charts import MINUTES_FROM

Rows = Sequence[Mapping[str, Any]]


def round_times(rows: Rows) -> list[str]:
    """The time that all answers up to each round took, in one unit; empty if it is unknown."""
    column = seconds_column(rows)
    if column is None:
        return []
    minutes = rows[-1][column] >= MINUTES_FROM
    return [f"{row[column] / 60:.1f} min" if minutes else f"{row[column]:.0f} s" for row in rows]


def simulated_times(rows: Rows) -> bool:
    return (seconds_column(rows) or "").startswith("simulated")


def rounds_sentence(rows: Rows) -> str:
    """What the answers of all rounds cost and brought."""
    first, last, column = rows[0], rows[-1], seconds_column(rows)
    whose = "simulated people's time" if simulated_times(rows) else "people's time"
    cost = f" in about {duration(last[column])} of {whose}" if column else ""
    text = f"{len(rows)} {'round' if len(rows) == 1 else 'rounds'}: {last['answers']:.0f} answers{cost}."
    if last.get("accuracy") is None:
        return f"{text} The policy's accuracy is unknown without labelled evaluation images."
    if len(rows) == 1:
        return f"{text} The policy's accuracy is {percent(last['accuracy'])}."
    before = f"{percent(first['accuracy'])} after {first['answers']:.0f} answers"
    return f"{text} The policy's accuracy was {before}, and is {percent(last['accuracy'])} after all."


def cost_sentence(store: FeedbackStore, classes: int) -> str:
    """The time that all current judgments cost; empty without judgments.

    Args:
        classes: number of classes, for the usual seconds of a kind.
    """
    found = person_seconds([store.comparisons(), store.per_image_judgments()], classes)
    parts = [f"about {duration(one.total)} of {'simulated ' if one.simulated else ''}people's time" for one in found]
    return f"They cost {' and '.join(parts)}." if parts else ""
