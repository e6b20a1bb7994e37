"""rounds.csv as others read it: empty cells, damage, and the entries of summary.json."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.run.rounds_file import add_rounds, read_rounds, rounds_path, seconds_column, write_rounds


def entries(run: Path, **before: float) -> dict[str, Any]:
    summary: dict[str, Any] = dict(before)
    add_rounds(summary, run)
    return summary


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_rounds(tmp_path) == []
    assert entries(tmp_path) == {}
    rows = [{"round": 0, "answers": 8, "simulated_seconds": 12.5, "accuracy": None, "J": 0.25}]
    write_rounds(tmp_path, pd.DataFrame(rows))
    assert read_rounds(tmp_path) == rows
    spent = {"rounds": rows, "seconds_of_people": 12.5, "seconds_simulated": 12.5}
    assert entries(tmp_path) == spent | {"judgments": 8}
    assert entries(tmp_path, judgments=11) == spent | {"judgments": 11}, "collect has counted them"
    went_on = {"rounds": rows, "seconds_of_people": 20.0, "judgments": 8}
    assert entries(tmp_path, seconds_of_people=20.0) == went_on, "people went on"
    assert seconds_column(rows) == "simulated_seconds"
    people = [{"round": 0, "answers": 8, "seconds": 30.0}]
    write_rounds(tmp_path, pd.DataFrame(people))
    spent = {"rounds": people, "seconds_of_people": 30.0, "seconds_simulated": 0.0}
    assert entries(tmp_path) == spent | {"judgments": 8}
    assert seconds_column(people) == "seconds"
    assert seconds_column([{"round": 0, "answers": 8}]) is None


@pytest.mark.parametrize("text", ["", "round,J\n0,1\n", "round,answers\n0,many\n", 'round,answers\n"0'])
def test_a_damaged_file_is_reported_and_left_out(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    rounds_path(tmp_path).parent.mkdir()
    rounds_path(tmp_path).write_text(text)
    with caplog.at_level(logging.WARNING):
        assert read_rounds(tmp_path) == []
    assert "rounds.csv: damaged (" in caplog.text
    assert "left out; `make rounds` writes it again" in caplog.text
