"""What was stored and is gone or different is named with its line, and nothing is appended over it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.judgments import comparisons

from feedback_store.csv_store.log import CsvLog
from feedback_store.csv_store.seal import ENTRY
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import ChangedError, FeedbackWarning
from feedback_store.records import Comparison


@pytest.fixture
def store(tmp_path: Path) -> CsvFeedbackStore:
    made = CsvFeedbackStore(tmp_path)
    made.append(comparisons(60))
    return made


def refuses(store: CsvFeedbackStore, message: str) -> None:
    """Both reading and appending, by this process and by a new one, name what is wrong, and change nothing."""
    before = store.pairwise.path.read_bytes(), store.pairwise.seal.path.read_bytes()
    for process in (store, CsvFeedbackStore(store.folder)):
        with pytest.raises(ChangedError, match=message):
            process.comparisons()
        with pytest.raises(ChangedError, match=message):
            process.append([Comparison(**{**comparisons(1)[0].__dict__, "id": "new"})])
    assert (store.pairwise.path.read_bytes(), store.pairwise.seal.path.read_bytes()) == before


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace(b",cant_tell,", b",b,"), r", line 5: not what was stored, and 120 bytes fewer"),
        (
            lambda text: re.sub(rb"judgment-18,.*\r\n", b"", text),
            r", line 20: not what was stored, and \d+ bytes fewer",
        ),
        (lambda text: text.replace(b"\r\n", b"\n"), r", line 1: not what was stored, and 61 bytes fewer"),
        (lambda text: b"\xef\xbb\xbf" + text, r", line 1: not what was stored;"),
        (lambda text: text.replace(b"judgment-18,", b"inserted,x\r\njudgment-18,"), r", line 20: not what was stored;"),
        (lambda text: text.replace(b"image-6,ant", b"image-5,ant"), r", line 8: not what was stored;"),
        (
            lambda text: text[: text.index(b"judgment-18,")],
            r": \d+ bytes that were stored are gone from its end, after line 19;",
        ),
        (
            lambda text: text[: text.index(b"judgment-18,") + 7],
            r": \d+ bytes that were stored are gone from its end, after line 19;",
        ),
        (lambda text: text[:-1], r": 1 bytes that were stored are gone from its end, after line 60;"),
        (lambda text: b"", r": \d+ bytes that were stored are gone from its end, from line 1 on;"),
        (lambda text: text.replace(b",", b";"), r", line 1: not what was stored;"),
    ],
)
def test_every_edit_of_stored_rows_is_named_and_refused(
    store: CsvFeedbackStore, edit: Callable[[bytes], bytes], message: str
) -> None:
    """Those that shorten the file passed as whole before: the one entry of the append lay beyond the file's end."""
    store.pairwise.path.write_bytes(edit(store.pairwise.path.read_bytes()))
    refuses(store, message)


def test_an_append_does_not_seal_what_was_cut_off(store: CsvFeedbackStore) -> None:
    """A file cut in the middle of a stored row, with rows below it, is named for ever: no append launders it."""
    text = store.pairwise.path.read_bytes()
    cut = text[: text.index(b"judgment-50,") + 20] + b"\r\n"
    store.pairwise.path.write_bytes(cut)
    refuses(store, ", line 52: not what was stored, and ")
    store.pairwise.path.write_bytes(cut + text[len(cut) :])
    refuses(store, ", lines 52 to 53: not what was stored;")
    store.pairwise.path.write_bytes(text)
    assert store.append([Comparison(**{**comparisons(1)[0].__dict__, "id": "new"})]) == 1
    assert len(store.comparisons()) == 61


def test_a_file_that_was_removed_is_missed(store: CsvFeedbackStore) -> None:
    text = store.pairwise.path.read_bytes()
    store.pairwise.path.unlink()
    for process in (store, CsvFeedbackStore(store.folder)):
        for act in (process.comparisons, lambda process=process: process.append(comparisons(61))):
            with pytest.raises(ChangedError, match=f"the file is gone, and {len(text)} bytes were stored"):
                act()
    assert not store.pairwise.path.exists()
    store.pairwise.path.write_bytes(text)
    assert store.append(comparisons(61)) == 1


def test_a_store_that_was_removed_is_missed_by_who_knew_it(store: CsvFeedbackStore) -> None:
    """With its seal; a new process begins anew."""
    for path in store.folder.iterdir():
        path.unlink()
    with pytest.raises(ChangedError, match=r"the file is gone, .* start this command again"):
        store.append(comparisons(61))
    assert CsvFeedbackStore(store.folder).append(comparisons(3)) == 3


def test_files_of_earlier_versions_are_read_and_damage_in_them_is_named(tmp_path: Path) -> None:
    """They have one entry an append: the header and two rows, then two rows."""
    rows = [b"1,a,b\r\n", b"2,c,d\r\n", b"3,e,f\r\n", b"4,g,h\r\n"]
    pieces = [b"id,x,y\r\n" + rows[0] + rows[1], rows[2] + rows[3]]
    log = CsvLog(tmp_path / "x.csv", ("id", "x", "y"))
    text = b"".join(pieces)
    log.path.write_bytes(text)
    entries = [(len(pieces[0]), zlib.crc32(pieces[0])), (len(text), zlib.crc32(pieces[1]))]
    log.seal.path.write_bytes(np.array(entries, ENTRY).tobytes())
    assert list(log.read()["id"]) == ["1", "2", "3", "4"]
    log.path.write_bytes(text.replace(b"e,f", b"e"))
    with pytest.raises(ChangedError, match="lines 4 to 5: not what was stored, and 2 bytes fewer"):
        log.read()
    log.path.write_bytes(text)
    assert log.append([("5", "i", "j")]) == 1
    assert list(log.read()["id"]) == ["1", "2", "3", "4", "5"]
    assert len(log.seal.entries()) == 3


def test_a_file_without_a_seal_is_read_and_sealed_by_the_next_append(store: CsvFeedbackStore) -> None:
    store.pairwise.seal.path.unlink()
    assert len(store.comparisons()) == store.pairwise.unsealed() == 60
    store.append(comparisons(61))
    assert store.pairwise.unsealed() == 0
    store.pairwise.path.write_bytes(store.pairwise.path.read_bytes().replace(b"ant,image-3", b"bee,image-3", 1))
    refuses(store, "line 5: not what was stored")


@pytest.mark.parametrize("torn", [b"", b"\x01\x02\x03", bytes(24), bytes(24) + b"\x01"])
def test_what_a_power_cut_does_to_the_seal_leaves_rows_unsealed(store: CsvFeedbackStore, torn: bytes) -> None:
    """Entries that were not on disk yet are missing, torn or zero."""
    entries = store.pairwise.seal.path.read_bytes()
    store.pairwise.seal.path.write_bytes(entries[: 12 * 40] + torn)
    assert len(CsvFeedbackStore(store.folder).comparisons()) == 60
    assert store.pairwise.unsealed() == 21
    CsvFeedbackStore(store.folder).append(comparisons(61))
    assert store.pairwise.seal.path.stat().st_size == 12 * 62
    assert store.pairwise.unsealed() == 0


def test_rows_that_another_program_appends_are_sealed_if_they_are_rows(store: CsvFeedbackStore) -> None:
    row = b"foreign,2026-11-21T10:00:00.000Z,ann,0,image-1,ant,image-1,bee,a,a,,import,\n"
    with store.pairwise.path.open("ab") as file:
        file.write(row)
    assert store.append(comparisons(61)) == 1
    assert store.pairwise.unsealed() == 0
    assert len(store.comparisons()) == 62
    good = store.pairwise.path.read_bytes()
    for bad, message in (
        (row, "line 64: the id 'foreign' is used twice"),
        (b"half a row\n", "line 64: 1 cells where 13 belong"),
        (row.replace(b"foreign", b"f").replace(b",a,a,", b",c,a,"), "line 64: choice is 'c'"),
        (row.replace(b"foreign", b"f").replace(b"import,", b"import,gone"), "line 64: retracts is 'gone'"),
    ):
        store.pairwise.path.write_bytes(good + bad)
        with pytest.raises(ChangedError, match=message):
            store.append(comparisons(62))
        assert store.pairwise.path.read_bytes() == good + bad


def test_a_tail_that_was_never_acknowledged_is_set_aside(store: CsvFeedbackStore) -> None:
    with store.pairwise.path.open("ab") as file:
        file.write(b"judgment-60,2026-11-2")
    with pytest.warns(FeedbackWarning, match="torn"):
        assert len(store.comparisons()) == 60
    with pytest.warns(FeedbackWarning, match="set aside"):
        assert store.append(comparisons(61)) == 1
    assert len(store.comparisons()) == 61
