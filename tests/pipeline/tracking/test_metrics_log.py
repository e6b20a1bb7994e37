"""metrics.csv and TensorBoard's events hold the same numbers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.tracking.metrics_log import Metrics


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def test_rows_and_events(tmp_path: Path) -> None:
    with Metrics(tmp_path / "metrics.csv") as metrics:
        metrics.add(step=1, loss=0.5, accuracy=None)
        metrics.add(step=2, loss=0.25, accuracy=0.75)
    with (tmp_path / "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == [
            {"step": "1", "loss": "0.5", "accuracy": ""},
            {"step": "2", "loss": "0.25", "accuracy": "0.75"},
        ]
    board = events(tmp_path)
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [(1, 0.5), (2, 0.25)]
    assert [(event.step, event.value) for event in board.Scalars("accuracy")] == [(2, 0.75)]


def test_a_new_run_replaces_and_a_resumed_one_continues(tmp_path: Path) -> None:
    """The rows after the last checkpoint are made again, so they must not stand twice."""
    with Metrics(tmp_path / "metrics.csv") as first:
        for step in range(5):
            first.add(step=step, late=None if step < 3 else 1.0)
    with Metrics(tmp_path / "metrics.csv") as again:
        again.resume(first.rows[:3], first.columns)
        again.add(step=3, late=9.0)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[3]["late"] == "9"
    board = events(tmp_path)
    assert [event.step for event in board.Scalars("step")] == [1, 2, 3, 4]
    assert [event.value for event in board.Scalars("late")] == [9.0]


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Metrics(None) as metrics:
        metrics.add(step=1, loss=2.0)
    assert metrics.rows == [{"step": 1, "loss": 2.0}]
    assert not list(tmp_path.iterdir())
