"""What a spreadsheet makes of a file is read if no record differs, and `accept` brings it into the store's own form."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import ChangedError, FeedbackError
from feedback_store.records import Comparison, label_choice

PAIRS = [
    Comparison(
        id=f"id-{number}",
        created_at="2026-11-21T10:00:00.000Z",
        annotator="=ann, of 'ours'",
        source="web",
        image_a="img-1",
        label_a="ant",
        image_b="img-1",
        label_b='the "bee"',
        choice="a",
        response_ms=number or None,
    )
    for number in range(4)
]


def saved(text: bytes, *, order: int = 1, quoting: int = csv.QUOTE_MINIMAL, extra: int = 0) -> bytes:
    """As a spreadsheet writes it: columns from the last to the first, all cells quoted, empty cells after each row."""
    made = io.StringIO()
    rows = csv.reader(io.StringIO(text.decode(), newline=""))
    csv.writer(made, quoting=quoting).writerows([*row[::order], *[""] * extra] for row in rows)  # type: ignore[arg-type]
    return made.getvalue().encode()


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "all quoted": lambda text: saved(text, quoting=csv.QUOTE_ALL),
    "trailing commas": lambda text: saved(text, extra=3),
    "reordered columns": lambda text: saved(text, order=-1),
    "all of these": lambda text: saved(text, order=-1, quoting=csv.QUOTE_ALL, extra=1),
    "blank lines": lambda text: text.replace(b"\r\n", b"\r\n\r\n", 2) + b"\r\n,,,,,,,,,,,,\r\n",
    "line feeds": lambda text: text.replace(b"\r\n", b"\n"),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text,
    "no last line end": lambda text: text[:-2],
}


@pytest.fixture
def store(tmp_path: Path) -> CsvFeedbackStore:
    made = CsvFeedbackStore(tmp_path)
    made.append(PAIRS)
    return made


@pytest.mark.parametrize("form", FORMS)
def test_a_file_saved_by_a_spreadsheet_is_named_and_can_be_accepted(store: CsvFeedbackStore, form: str) -> None:
    stored, text = store.comparisons().to_dict("records"), store.pairwise.path.read_bytes()
    changed = FORMS[form](text)
    store.pairwise.path.write_bytes(changed)
    if changed.startswith(text):
        assert store.comparisons().to_dict("records") == stored, "lines were added that hold nothing"
    else:
        with pytest.raises(ChangedError, match=r"not what was stored|gone from its end"):
            store.comparisons()
    with pytest.raises(ChangedError):
        store.append([replace(PAIRS[0], id="new")])
    assert store.pairwise.path.read_bytes() == changed
    copy = store.pairwise.accept()
    assert copy is not None
    assert copy.read_bytes() == changed
    assert store.pairwise.path.read_bytes() == text, "each record is what it was, in the store's own form"
    assert store.append([replace(PAIRS[0], id="new")]) == 1
    assert store.comparisons().to_dict("records")[:4] == stored
    assert len(CsvFeedbackStore(store.folder).comparisons()) == 5


@pytest.mark.parametrize("form", [name for name in FORMS if name != "no last line end"])
def test_such_a_file_without_a_seal_is_simply_read(store: CsvFeedbackStore, form: str) -> None:
    stored = store.comparisons().to_dict("records")
    store.pairwise.seal.path.unlink()
    store.pairwise.path.write_bytes(FORMS[form](store.pairwise.path.read_bytes()))
    assert store.comparisons().to_dict("records") == stored


def test_lines_keep_their_numbers_below_blank_ones(store: CsvFeedbackStore) -> None:
    store.pairwise.seal.path.unlink()
    text = FORMS["blank lines"](store.pairwise.path.read_bytes())
    store.pairwise.path.write_bytes(text)
    assert list(store.comparisons().index) == [3, 5, 6, 7]
    store.pairwise.path.write_bytes(text.replace(b"2026-11-21T10", b"2026-11-21T30", 2))
    with pytest.raises(FeedbackError, match="line 3: created_at"):
        store.comparisons()


def test_changed_records_are_accepted_as_they_are(store: CsvFeedbackStore) -> None:
    text = store.pairwise.path.read_bytes().replace(b",a,a,", b",b,a,")
    store.pairwise.path.write_bytes(text)
    with pytest.raises(ChangedError, match=r"line 2: not what was stored.*--accept"):
        store.comparisons()
    assert store.pairwise.accept() is None, "there was nothing to rewrite"
    assert set(store.comparisons()["choice"]) == {"b"}
    assert store.pairwise.path.read_bytes() == text


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text + b"garbage\r\n", "line 6: 1 cells where 13 belong; fix or delete the line"),
        (lambda text: text.replace(b",", b";"), "line 1: the header is not id,.*save the file with commas"),
        (lambda text: text.replace(b"id-2", b"id-1"), "line 4: the id 'id-1' is used twice"),
        (lambda text: text.replace(b"id-2", b"id-\xff"), "line 4: not UTF-8"),
        (lambda text: text.replace(b"2026-11-21", b"21.11.2026"), "line 2: created_at is '21.11.2026T"),
        (lambda text: text.replace(b"id-2", b'"id-2'), "line 4: "),
    ],
)
def test_what_cannot_be_read_cannot_be_accepted(
    store: CsvFeedbackStore, edit: Callable[[bytes], bytes], message: str
) -> None:
    changed, seal = edit(store.pairwise.path.read_bytes()), store.pairwise.seal.path.read_bytes()
    store.pairwise.path.write_bytes(changed)
    with pytest.raises(FeedbackError, match=message):
        store.pairwise.accept()
    assert store.pairwise.path.read_bytes() == changed
    assert store.pairwise.seal.path.read_bytes() == seal


def test_a_piece_of_a_row_is_left_out_and_kept_in_the_copy(store: CsvFeedbackStore) -> None:
    text = store.pairwise.path.read_bytes()
    store.pairwise.path.write_bytes(text[:-20])
    copies = [store.pairwise.accept()]
    assert list(store.comparisons()["id"]) == ["id-0", "id-1", "id-2"]
    store.pairwise.path.write_bytes(text[:-20])
    copies.append(store.pairwise.accept())
    assert [copy.name for copy in copies if copy] == ["pairwise.csv.before-accept-1", "pairwise.csv.before-accept-2"]
    assert {copy.read_bytes() for copy in copies if copy} == {text[:-20]}


def test_a_removed_file_is_accepted_as_one_without_rows(store: CsvFeedbackStore) -> None:
    store.pairwise.path.unlink()
    assert store.pairwise.was_stored
    store.pairwise.accept()
    assert len(store.comparisons()) == 0
    assert store.append(PAIRS) == 4


def test_a_linked_file_stays_linked(store: CsvFeedbackStore, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_bytes(FORMS["all quoted"](store.pairwise.path.read_bytes()))
    store.pairwise.path.unlink()
    store.pairwise.path.symlink_to(elsewhere)
    store.pairwise.accept()
    assert store.pairwise.path.is_symlink()
    assert len(store.comparisons()) == 4


def test_a_full_disk_leaves_file_and_seal_as_they_were(
    store: CsvFeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([label_choice("img-1", "ant", id="one", annotator="ann", source="web")])
    changed, seal = FORMS["all quoted"](store.pairwise.path.read_bytes()), store.pairwise.seal.path.read_bytes()
    store.pairwise.path.write_bytes(changed)

    def full(handle: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_store.durable_write.write_all", full)
        with pytest.raises(FeedbackError, match=r"could not be sealed again \(No space left"):
            store.pairwise.accept()
    assert store.pairwise.path.read_bytes() == changed
    assert store.pairwise.seal.path.read_bytes() == seal
    assert not list(store.folder.glob("*.before-accept*")) + list(store.folder.glob("*.new*"))
    assert store.pairwise.accept()
