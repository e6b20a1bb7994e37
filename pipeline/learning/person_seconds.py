"""Seconds that the judgments of a run cost, of people and of simulated teachers separately (METHOD 10)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from feedback_store.audit import base_source
from pipeline.learning import response_times
from pipeline.learning.response_times import TimeModel

SIMULATED_SOURCE = "simulated"  # of rows whose response times were simulated
TIMES_COLUMNS = ("question", "times", "judgments", "timed", "median_s", "mean_s", "total_s")
MINUTE = 60


@dataclass(frozen=True, eq=False)
class PersonSeconds:
    """The judgments of people, replayed and imported ones among them; or those of simulated teachers.

    Attributes:
        simulated: which of both.
        tables: rows as `FeedbackStore` reads them.
        model: the time model of these rows.
        total: seconds that they cost, measured where they were, otherwise expected.
    """

    simulated: bool
    tables: Sequence[pd.DataFrame]
    model: TimeModel
    total: float

    @property
    def whose(self) -> str:
        """For tables and messages."""
        return "simulated" if self.simulated else "people"

    def by_kind(self) -> list[dict[str, Any]]:
        """A row of `TIMES_COLUMNS` per kind of question: its judgments, and the time model's median and mean seconds."""
        rows = []
        for name, own in response_times.rows_by_kind(self.tables):
            timed = self.model.answers.get(name, 0)
            seconds = (self.model.median_seconds(name), self.model.seconds(name), self.model.total([own]))
            rows.append(dict(zip(TIMES_COLUMNS, (name, self.whose, len(own), timed, *seconds), strict=True)))
        return rows


def person_seconds(tables: Iterable[pd.DataFrame], classes: int) -> list[PersonSeconds]:
    """What current judgments cost: of people, and of simulated teachers, whichever there are.

    Args:
        tables: `[store.comparisons(), store.per_image_judgments()]`.
        classes: number of classes.
    """
    tables = list(tables)
    found = []
    for simulated in (False, True):
        own = [rows[is_simulated(rows["source"]) == simulated] for rows in tables]
        if any(len(rows) for rows in own):
            model = response_times.fit(own, classes)
            found.append(PersonSeconds(simulated, own, model, model.total(own)))
    return found


def is_simulated(sources: pd.Series) -> pd.Series:
    """Whether each row's response time was simulated; also of audit questions, whose source has a mark."""
    return sources.map(base_source) == SIMULATED_SOURCE


def duration(seconds: float) -> str:
    """A duration for people: `42 s`, `17 min`, `2 h 5 min`."""
    if round(seconds) < MINUTE:
        return f"{round(seconds)} s"
    hours, minutes = divmod(round(seconds / MINUTE), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def times_text(found: Iterable[PersonSeconds]) -> str:
    """The time models and totals for a terminal."""
    found = list(found)
    frame = pd.DataFrame([row for one in found for row in one.by_kind()], columns=list(TIMES_COLUMNS))
    lines = [frame.to_string(index=False, float_format=lambda value: f"{value:.3g}")]
    for one in found:
        whose = "simulated seconds of simulated teachers" if one.simulated else "seconds of people"
        model, summary = one.model, one.model.summary()
        fit = (
            f"fitted to {summary['answers']} timed answers of {summary['persons']} annotators: log seconds vary by "
            f"{model.answer_sd:.2f} between answers and {model.person_sd:.2f} between annotators"
            if summary["answers"]
            else "no answer was timed: usual seconds of each kind of question"
        )
        breaks = f"; {model.interrupted} interrupted answers" if model.interrupted else ""
        lines.append(f"{one.total:.0f} {whose} ({duration(one.total)}), {fit}{breaks}")
    return "\n".join(lines)


def times_json(found: Iterable[PersonSeconds]) -> list[dict[str, Any]]:
    """The same as records: one for people and one for simulated teachers, whichever there are."""
    return [
        {"times": one.whose, "total_s": one.total, "questions": one.by_kind(), "model": one.model.summary()}
        for one in found
    ]
