"""Copies between CSV files and PostgreSQL: the same bytes after both ways, late and retracted rows included."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pandas as pd
import pytest
from click.testing import CliRunner
from support.postgres import new_collection

from benchmarks.postgres_process import PostgresProcess
from feedback_store.copying import copy_store
from feedback_store.csv_store.line import line_of
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.postgres_store import rows as table_rows
from feedback_store.records import Comparison, PerImage, label_choice
from feedback_store.store_registry import open_store
from feedback_store.tables import TABLES
from stages.cli import main

COMMON = {"annotator": "ann", "source": "web", "created_at": "2026-11-21T10:00:00.000Z"}


def pair(judgment: str, **more: str) -> Comparison:
    sides = {"image_a": "i", "label_a": "=x", "image_b": "i", "label_b": 'y, "z"', "choice": "a"}
    return Comparison(id=judgment, **{**sides, **COMMON, **more})  # type: ignore[arg-type]


def single(judgment: str, **more: str) -> PerImage:
    return label_choice("'img 🐜", "-bee", id=judgment, **{**COMMON, **more})


def files(folder: Path) -> dict[str, bytes]:
    """What is stored, by path, without the lock files."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture
def source(tmp_path: Path) -> CsvFeedbackStore:
    store = CsvFeedbackStore(tmp_path / "one" / "feedback")
    for start in range(0, 40, 4):
        store.append([pair(f"{start + k}") for k in range(4)] + [single(f"s{start + k}") for k in range(4)])
    store.append(
        [pair("back", retracts="later"), pair("later"), pair("7-back", retracts="7"), single("r", retracts="s3")]
    )
    store.late.append([pair("late", choice="tie"), single("late-too")])
    return store


@pytest.fixture(params=[50_000, 7])
def piece_rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows in one piece, and in many."""
    monkeypatch.setattr(table_rows, "PIECE_ROWS", request.param)


def test_both_ways_give_the_same_bytes(
    postgres: PostgresProcess, source: CsvFeedbackStore, tmp_path: Path, piece_rows: None
) -> None:
    database, back = new_collection(postgres), CsvFeedbackStore(tmp_path / "back")
    assert copy_store(source, database) == (84, 2)
    assert copy_store(database, back) == (84, 2)
    assert files(back.folder) == files(source.folder)
    assert len(files(back.folder)) == 8, "two files and their seals, and those of late answers"
    assert list(database.current("pairwise")["id"]) == list(source.current("pairwise")["id"])
    assert database.check() == back.check() == 84
    assert back.unverified() == 0
    assert copy_store(source, database) == copy_store(database, back) == (0, 0)


def test_rows_that_no_append_would_store_are_copied_as_they_are(postgres: PostgresProcess, tmp_path: Path) -> None:
    """Files that were edited and accepted: a row that is retracted twice, numbers and times in other forms."""
    lines = [
        line_of(TABLES["pairwise"]),
        line_of(["1", "2026-11-21T10:00:00+00:00", "a", "007", "i", "x", "i", "y", "a", "b", "00", "web", ""]),
        line_of(["2", "2026-11-21T10:00:00Z", "a", "0", "i", "x", "i", "y", "a", "a", "", "web", "1"]),
        line_of(["3", "2026-11-21T10:00:00.5Z", "a", "0", "i", "x", "i", "y", "a", "a", "", "web", "1"]),
    ]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "pairwise.csv").write_bytes(b"".join(lines))
    CsvFeedbackStore(tmp_path / "a").accept()
    database = new_collection(postgres)
    assert copy_store(CsvFeedbackStore(tmp_path / "a"), database) == (3, 0)
    assert copy_store(database, CsvFeedbackStore(tmp_path / "b")) == (3, 0)
    assert files(tmp_path / "b") == files(tmp_path / "a")


def test_a_copy_is_brought_up_to_date(postgres: PostgresProcess, source: CsvFeedbackStore, tmp_path: Path) -> None:
    database, back = new_collection(postgres), CsvFeedbackStore(tmp_path / "back")
    copy_store(source, database)
    copy_store(database, back)
    database.append([single("new-1"), pair("new-2"), single("new-3")])
    database.late.append([pair("new-late")])
    assert copy_store(database, back) == (3, 1)
    assert list(back.all_rows("per_image")["id"])[-2:] == ["new-1", "new-3"]
    assert copy_store(back, new_collection(postgres)) == (87, 3)
    assert copy_store(back, source) == (3, 1)
    assert files(source.folder) == files(back.folder)
    assert source.append([pair("after")]) == 1, "an open store notices that its files were extended"


def test_other_rows_are_refused_and_nothing_changes(
    postgres: PostgresProcess, source: CsvFeedbackStore, tmp_path: Path
) -> None:
    database, folder = new_collection(postgres), CsvFeedbackStore(tmp_path / "other")
    for target in (database, folder):
        target.append([pair("0"), single("of another collection")])
        before = [target.all_rows(table) for table in TABLES]
        with pytest.raises(
            FeedbackError, match=r"its 1 rows are not the first rows of what is copied; copy into an empty"
        ):
            copy_store(source, target)
        for table, frame in zip(TABLES, before, strict=True):
            pd.testing.assert_frame_equal(target.all_rows(table), frame)
    more = CsvFeedbackStore(tmp_path / "more")
    more.append([pair(str(number)) for number in range(99)])
    with pytest.raises(FeedbackError, match="its 99 rows are not the first rows"):
        copy_store(source, more)


def test_a_copy_that_fails_midway_has_changed_nothing(
    postgres: PostgresProcess, source: CsvFeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, copied = new_collection(postgres), table_rows.copy_in

    def fail_at_second(connection, collection, table, frame, position):  # type: ignore[no-untyped-def]
        if table == "per_image":
            raise KeyboardInterrupt
        return copied(connection, collection, table, frame, position)

    monkeypatch.setattr(table_rows, "copy_in", fail_at_second)
    with pytest.raises(KeyboardInterrupt):
        copy_store(source, database)
    assert database.is_empty()
    monkeypatch.undo()
    assert copy_store(source, database) == (84, 2)


def test_the_command_copies_and_names_the_collection_after_the_run(
    postgres: PostgresProcess, source: CsvFeedbackStore, tmp_path: Path
) -> None:
    name = f"run-{uuid4().hex}"
    folder = source.folder.parent.rename(tmp_path / name) / "feedback"
    location = f"{postgres.address()}?collection={name}"
    done = CliRunner().invoke(main, ["store", "copy", str(folder), postgres.address()])
    assert done.output == f"84 judgments and 2 late answers copied to {location}\n"
    assert open_store(location).check() == 84
    done = CliRunner().invoke(main, ["store", "copy", location, str(tmp_path / "back")])
    assert done.output == f"84 judgments and 2 late answers copied to {tmp_path / 'back'}\n"
    assert files(tmp_path / "back") == files(folder)
    for wrong, said in (
        ([str(tmp_path / "none"), location], "no such folder"),
        ([location, postgres.address()], "the collection is ''"),
    ):
        failed = CliRunner().invoke(main, ["store", "copy", *wrong])
        assert (failed.exit_code, said in failed.output) == (2, True), failed.output
