"""Another program changes a file at the worst moment: between a look at it and what is done next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from feedback_store.csv_store.log import CsvLog
from feedback_store.csv_store.verified_file import Place, VerifiedFile
from feedback_store.errors import ChangedError

COLUMNS = ("id", "x", "y")


@pytest.fixture
def log(tmp_path: Path) -> CsvLog:
    made = CsvLog(tmp_path / "x.csv", COLUMNS)
    made.append([("1", "a", "b"), ("2", "c", "d")])
    return made


CHANGES: dict[str, Callable[[Path], object]] = {
    "emptied": lambda path: path.write_bytes(b""),
    "semicolons and longer": lambda path: path.write_bytes(path.read_bytes().replace(b",", b";") + b"3;e;f\r\n"),
    "removed": lambda path: path.unlink(),
    "another file": lambda path: (path.rename(path.with_suffix(".old")), path.write_bytes(b"id,x,y\r\n")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_the_look_gets_no_row(
    log: CsvLog, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    good, true = log.path.read_bytes(), VerifiedFile.refresh

    def changed_after(file: VerifiedFile) -> None:
        true(file)
        CHANGES[change](log.path)

    with monkeypatch.context() as patch:
        patch.setattr(VerifiedFile, "refresh", changed_after)
        with pytest.raises(ChangedError, match="changed or moved the file while an answer was written"):
            log.append([("3", "e", "f")])
    found = log.path.read_bytes()
    assert b"3,e,f" not in found
    log.path.write_bytes(good)
    assert log.append([("3", "e", "f")]) == 1
    assert list(log.read()["id"]) == ["1", "2", "3"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_followed_is_refused(
    log: CsvLog, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    good = log.path.read_bytes()
    true = CsvLog._bytes

    def changed_before(one: CsvLog, start: int, end: int | None = None) -> bytes:
        CHANGES[change](one.path)
        return true(one, start, end)

    with monkeypatch.context() as patch:
        patch.setattr(CsvLog, "_bytes", changed_before)
        with pytest.raises(ChangedError):
            log.rows_since(Place())
    log.path.write_bytes(good)
    assert [row["id"] for row in log.rows_since(Place())[0]] == ["1", "2"]
