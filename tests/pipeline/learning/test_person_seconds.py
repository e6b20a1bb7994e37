"""Seconds of people and of simulated teachers, kept apart."""

from __future__ import annotations

import pandas as pd
import pytest

from feedback_store.records import Comparison, verdict
from feedback_store.tables import as_row
from pipeline.learning.person_seconds import duration, person_seconds, times_json, times_text


def verdicts(annotator: str, source: str, *milliseconds: int | None) -> pd.DataFrame:
    rows = [verdict("img", "ant", "yes", annotator=annotator, source=source, response_ms=ms) for ms in milliseconds]
    return pd.DataFrame([as_row(row) for row in rows])


def compared(source: str) -> pd.DataFrame:
    sides = {"image_a": "img", "label_a": "ant", "image_b": "img", "label_b": "bee"}
    return pd.DataFrame([as_row(Comparison(annotator="ann", source=source, choice="a", response_ms=4000, **sides))])


def test_people_and_simulated_teachers_are_fitted_apart() -> None:
    both = pd.concat([verdicts("ann", "web", *[850] * 300), verdicts("simulated-oracle", "simulated", *[3400] * 300)])
    people, simulated = person_seconds([both], 10)
    assert (people.simulated, simulated.simulated) == (False, True)
    assert (people.total, simulated.total) == (pytest.approx(255), pytest.approx(1020))
    assert people.model.median_seconds("verdict", "ann") == pytest.approx(0.85, rel=0.02)
    assert simulated.model.median_seconds("verdict", "simulated-oracle") == pytest.approx(3.4, rel=0.02)
    assert simulated.model.person_offsets.keys() == {"simulated-oracle"}


def test_audit_answers_of_a_simulated_teacher_are_simulated() -> None:
    (simulated,) = person_seconds(
        [pd.concat([verdicts("one", source, 2000) for source in ("simulated", "simulated:audit")])], 10
    )
    assert (simulated.simulated, simulated.total) == (True, pytest.approx(4))
    (people,) = person_seconds([verdicts("ann", "web:audit", 2000)], 10)
    assert not people.simulated


def test_each_table_and_kind_has_its_row() -> None:
    (people,) = person_seconds([compared("web"), verdicts("ann", "replay", 1500, None)], 10)
    comparison, asked = people.by_kind()
    assert (comparison["question"], comparison["judgments"], comparison["timed"]) == ("comparison", 1, 1)
    assert (asked["question"], asked["judgments"], asked["timed"], asked["times"]) == ("verdict", 2, 1, "people")
    assert comparison["total_s"] == 4
    assert asked["total_s"] == pytest.approx(1.5 + people.model.seconds("verdict", "ann"))
    assert people.total == pytest.approx(comparison["total_s"] + asked["total_s"])


def test_no_judgments_cost_nothing() -> None:
    assert person_seconds([verdicts("ann", "web", 1).iloc[:0]], 10) == []


def test_simulated_seconds_are_called_simulated() -> None:
    text = times_text(person_seconds([verdicts("simulated-oracle", "simulated", 1500, 2500)], 10))
    assert "4 simulated seconds of simulated teachers (4 s), fitted to 2 timed answers of 1 annotators" in text
    assert "people" not in text
    text = times_text(person_seconds([verdicts("ann", "web", None)], 10))
    assert "2 seconds of people (2 s), no answer was timed: usual seconds of each kind of question" in text
    assert "simulated" not in text
    (record,) = times_json(person_seconds([verdicts("simulated-oracle", "simulated", 1500, 2500)], 10))
    assert (record["times"], record["total_s"], record["model"]["answers"]) == ("simulated", 4.0, 2)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(41.6, "42 s"), (59.8, "1 min"), (3599, "1 h 0 min"), (3540, "59 min"), (3600, "1 h 0 min"), (7530, "2 h 6 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
