"""The load test fails for what is lost, doubled or asked too often, and for no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.load_test import Outcome, latency, main, verdict
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.records import Comparison


def stored(folder: Path, *answers: tuple[str, str, str]) -> None:
    """Id, annotator and image of each."""
    store = CsvFeedbackStore(folder / "runs" / "load" / "feedback")
    store.append(
        [
            Comparison(
                id=judgment,
                annotator=who,
                image_a=image,
                label_a="x",
                image_b=image,
                label_b="y",
                choice="a",
                source="web",
            )
            for judgment, who, image in answers
        ]
    )


@pytest.mark.parametrize(
    ("acknowledged", "problem"),
    [
        (["1", "2"], ""),
        (["1", "2", "3"], "1 acknowledged answers are not in the store exactly once"),
    ],
)
def test_what_is_lost_is_said(tmp_path: Path, acknowledged: list[str], problem: str) -> None:
    stored(tmp_path, ("1", "ann", "image-1"), ("2", "bob", "image-1"))
    assert verdict(tmp_path, Outcome(acknowledged), each=2) == ([problem] if problem else [])


def test_what_is_asked_too_often_is_said(tmp_path: Path) -> None:
    stored(tmp_path, ("1", "ann", "image-1"), ("2", "ann", "image-1"), ("3", "bob", "image-1"))
    assert verdict(tmp_path, Outcome(), each=2) == [
        "1 questions have more than 2 answers",
        "1 questions were answered twice by the same person",
    ]


def test_times_are_beside_a_bare_request_and_fail_nothing() -> None:
    slow = Outcome(seconds=[3.0] * 100, bare_seconds=[2.0] * 100)
    assert latency(slow) == (
        "acknowledgement: median 3000.0 ms, 95th percentile 3000.0 ms, maximum 3000 ms; "
        "bare request: median 2000.0 ms, 95th percentile 2000.0 ms; ratio 1.5 and 1.5"
    )
    assert "no bare request succeeded" in latency(Outcome(seconds=[3.0]))
    assert "limit_ms" not in {parameter.name for parameter in main.params}
