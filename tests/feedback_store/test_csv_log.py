"""One durable CSV file: nothing torn, changed, foreign or half-written is accepted in silence."""

from __future__ import annotations

import csv
import os
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.csv_logs import COLUMNS, sealed

from feedback_store.csv_store.log import CsvLog
from feedback_store.errors import ChangedError, FeedbackError, FeedbackWarning

cells = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=0, max_size=12)
rows = st.lists(st.tuples(st.uuids().map(str), cells, cells), min_size=1, max_size=8, unique_by=lambda row: row[0])


@given(rows=rows)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_and_none_is_a_formula(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]
) -> None:
    log = CsvLog(tmp_path_factory.mktemp("log") / "x.csv", COLUMNS)
    log.append(rows)
    back = log.read()
    assert [tuple(r) for r in back.itertuples(index=False)] == rows
    with log.path.open(newline="", encoding="utf-8") as file:
        for line in csv.reader(file):
            assert not any(cell.startswith(("=", "+", "-", "@")) for cell in line)
    assert log.append(rows) == 0


def test_truncation_at_every_byte_of_the_last_row(tmp_path: Path) -> None:
    """A power cut before the row was sealed may leave any part of it: it is set aside, and the next append goes on."""
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    log.append([("1", "eins", "é"), ("2", "zwei", '"quoted", comma')])
    whole, seal = log.path.read_bytes(), log.seal.path.read_bytes()
    log.append([("3", "drei", "🐜")])
    full = log.path.read_bytes()
    for length in range(len(whole), len(full) + 1):
        folder = tmp_path / str(length)
        folder.mkdir()
        cut = CsvLog(folder / "x.csv", COLUMNS)
        cut.seal.path.write_bytes(seal)
        cut.path.write_bytes(full[:length])
        expected = ["1", "2", "3"] if length == len(full) else ["1", "2"]
        with nullcontext() if length in (len(whole), len(full)) else pytest.warns(FeedbackWarning):
            assert list(cut.read()["id"]) == expected
        with nullcontext() if length in (len(whole), len(full)) else pytest.warns(FeedbackWarning, match="set aside"):
            cut.append([("4", "vier", "")])
        assert list(cut.read()["id"]) == [*expected, "4"]
        aside = list(folder.glob("x.csv.torn-*"))
        assert len(aside) == (0 if length in (len(whole), len(full)) else 1)
        if aside:
            assert aside[0].read_bytes().rstrip(b"\n") == full[len(whole) : length].rstrip(b"\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\r\n", "line 1: the header"),
        ("id,x,y\r\n1,2\r\n", "line 2: 2 cells where 3 belong"),
        ("id,x,y\r\n1,2,3\r\n1,2\r\n", "line 3"),
        ("id,x,y\r\n1,2,3\r\n4,5,6,7\r\n", "line 3: 4 cells where 3 belong"),
        ("id,x,y\r\n1,2,3\r\n2,2,3\r\n1,5,6\r\n", "line 4: the id '1' is used twice"),
        (b"id,x,y\r\n1,2,\xff\r\n", "line 2: not UTF-8"),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    log.path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(FeedbackError, match=message) as error:
        log.read()
    assert str(log.path) in str(error.value)


def test_nothing_is_appended_to_a_foreign_file(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    log.path.write_text("name,price\napple,3\n")
    with pytest.raises(FeedbackError, match="header"):
        log.append([("1", "2", "3")])
    assert log.path.read_text() == "name,price\napple,3\n"


def test_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    log.append([("1", "a", "b")])
    before = log.path.read_bytes()

    def full(handle: int, data: memoryview) -> None:
        import errno

        os.write(handle, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_store.log._write_all", full)
        with pytest.raises(FeedbackError, match="No space left"):
            log.append([("2", "c", "d")])
    assert log.path.read_bytes() == before
    assert log.append([("2", "c", "d")]) == 1


def test_what_is_acknowledged_was_synced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    log.append([("1", "a", "b")])
    synced: list[int] = []
    true = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), true(handle)))
    log.append([("2", "a", "b"), ("3", "a", "b")])
    assert synced == [log.path.stat().st_size], "once, after everything was written"


@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_byte_is_accepted_in_silence(
    tmp_path_factory: pytest.TempPathFactory, place: float, mask: int
) -> None:
    """Any other value of any byte is an error that names the line."""
    log = sealed(tmp_path_factory.mktemp("flip"), 4)
    data = bytearray(log.path.read_bytes())
    position = int(place * len(data))
    data[position] ^= mask
    log.path.write_bytes(data)
    line = bytes(data[:position]).count(b"\n") + 1
    with pytest.raises(FeedbackError) as error:
        log.read()
    named = re.search(r", lines? (\d+)[^:]*: not what was stored", str(error.value))
    assert named
    assert int(named[1]) == line


def test_a_changed_line_is_named_and_can_be_accepted(tmp_path: Path) -> None:
    log = sealed(tmp_path, 5)
    log.path.write_bytes(log.path.read_bytes().replace(b"text 2", b"texT 2"))
    with pytest.raises(FeedbackError, match=r"line 4: not what was stored.*--accept"):
        log.read()
    for writer in (log, CsvLog(log.path, COLUMNS)):
        with pytest.raises(ChangedError, match="line 4"):
            writer.append([("6", "nothing is", "appended")])
    assert log.accept() is None, "the file is in the store's own form: there was nothing to rewrite"
    assert log.append([("6", "appending", "goes on")]) == 1
    assert len(log.read()) == 6


def test_a_deleted_line_is_noticed(tmp_path: Path) -> None:
    log = sealed(tmp_path, 5)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(FeedbackError, match=f"line 3: not what was stored, and {len(lines[2])} bytes fewer"):
        log.read()


@pytest.mark.parametrize("kept", [0, 5, 12, 20, 29])
def test_a_torn_seal_leaves_every_row_readable(tmp_path: Path, kept: int) -> None:
    log = sealed(tmp_path, 3)
    log.seal.path.write_bytes(log.seal.path.read_bytes()[:kept])
    assert len(log.read()) == 3
    CsvLog(log.path, COLUMNS).append([("new", "", "")])
    assert len(log.read()) == 4
    assert log.seal.entries()["end"][-1] == log.path.stat().st_size
    log.path.write_bytes(log.path.read_bytes().replace(b"text 1", b"text 7"))
    with pytest.raises(FeedbackError, match="not what was stored"):
        log.read()
