"""Reading a CSV log since a position, and a log that others change or move meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.csv_logs import COLUMNS, sealed

from feedback_store.csv_store.log import CsvLog
from feedback_store.csv_store.verified_file import Place
from feedback_store.errors import ChangedError, FeedbackError


def test_rows_since(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    assert log.rows_since(Place()) == ([], Place(), False)
    log.append([("1", "=a", 'b "c", d')])
    rows, place, _ = log.rows_since(Place())
    assert rows == [{"id": "1", "x": "=a", "y": 'b "c", d'}]
    assert log.rows_since(place) == ([], place, False)
    log.append([("2", "", "")])
    with log.path.open("ab") as file:
        file.write(b"3,torn")
    assert [row["id"] for row in log.rows_since(place)[0]] == ["2"]


def test_rows_since_names_a_row_that_is_none(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    log.append([("1", "a", "b")])
    place = log.rows_since(Place())[1]
    with log.path.open("ab") as file:
        file.write(b"2,too few\r\n")
    with pytest.raises(FeedbackError, match=r"x\.csv, line 3: 2 cells where 3 belong"):
        log.rows_since(place)


def test_rows_since_starts_anew_where_rows_are_gone(tmp_path: Path) -> None:
    """A reader that follows the file learns that rows it has read are no longer there; moving the file is no such thing."""
    log = sealed(tmp_path, 3)
    place = log.rows_since(Place())[1]
    log.path.rename(tmp_path / "away")
    with pytest.raises(ChangedError, match="the file is gone, and 89 bytes were stored"):
        log.rows_since(place)
    (tmp_path / "away").rename(log.path)
    assert log.rows_since(place) == ([], place, False)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join([lines[0], *lines[2:]]))
    CsvLog(log.path, COLUMNS).accept()
    rows, reached, anew = log.rows_since(place)
    assert [row["id"] for row in rows] == ["id1", "id2"]
    assert anew
    assert log.rows_since(reached) == ([], reached, False)


def test_a_place_is_valid_in_another_process(tmp_path: Path) -> None:
    """A follower that was started anew reads on where it was; and starts anew where rows it has read are gone."""
    log = sealed(tmp_path, 3)
    place = log.rows_since(Place()).place
    log.append([("new", "", "")])
    rows, reached, anew = CsvLog(log.path, COLUMNS).rows_since(place)
    assert ([row["id"] for row in rows], anew) == (["new"], False)
    log.path.write_bytes(log.path.read_bytes().replace(b"text 2", b"texT 2"))
    log.accept()
    for followed in (place, reached):
        rows, _, anew = CsvLog(log.path, COLUMNS).rows_since(followed)
        assert ([row["id"] for row in rows], anew) == (["id0", "id1", "id2", "new"], True)


def test_a_row_written_to_a_file_that_was_moved_meanwhile_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = sealed(tmp_path, 2)
    true = os.write

    def moved(handle: int, data: memoryview) -> None:
        log.path.rename(tmp_path / "away")
        true(handle, data)

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_store.log._write_all", moved)
        with pytest.raises(ChangedError, match="moved the file while an answer was written; put it back"):
            log.append([("late", "", "")])
    (tmp_path / "away").rename(log.path)
    assert log.append([("late", "", "")]) == 0, "it is in the file that was put back"
    assert list(log.read()["id"]) == ["id0", "id1", "late"]


def test_two_processes_verify_only_what_the_other_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = sealed(tmp_path, 3), CsvLog(tmp_path / "x.csv", COLUMNS)
    other.look()
    one.append([("a", "", "")])
    monkeypatch.setattr(
        "feedback_store.csv_store.verified_file.VerifiedFile._learn_all",
        lambda *_: pytest.fail("the whole file was read"),
    )
    assert other.append([("a", "", ""), ("b", "", "")]) == 1
    assert one.append([("b", "", ""), ("c", "", "")]) == 1
    assert list(one.read()["id"]) == ["id0", "id1", "id2", "a", "b", "c"]
