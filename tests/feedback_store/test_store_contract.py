"""What every store must do, whatever is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from extensions.memory_store import CONTENTS, MemoryStore

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import ChangedError, FeedbackError
from feedback_store.records import Comparison, label_choice
from feedback_store.store import START, FeedbackStore, Position
from feedback_store.store_registry import open_store
from feedback_store.tables import TABLES, as_row

Open = Callable[[], FeedbackStore]  # each call opens the same collection, as another process would
COMMON = {"annotator": "ann", "source": "web", "created_at": "2026-11-21T10:00:00.000Z"}


@pytest.fixture(params=["csv", "memory", "postgresql"])
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    name = uuid4().hex
    openers: dict[str, Open] = {
        "csv": lambda: CsvFeedbackStore(tmp_path / "feedback"),
        "memory": lambda: MemoryStore(name),
    }
    if request.param == "postgresql":
        address = f"{request.getfixturevalue('postgres').address()}?collection={name}"
        openers["postgresql"] = lambda: open_store(address)
    yield openers[request.param]
    CONTENTS.pop(name, None)


def pair(judgment: str, **changes: str) -> Comparison:
    sides = {"image_a": "img", "label_a": "=ant", "image_b": "img", "label_b": "be,e", "choice": "a"}
    return Comparison(id=judgment, **{**sides, **COMMON, **changes})  # type: ignore[arg-type]


def single(judgment: str, **changes: str) -> object:
    return label_choice("img", "bee", id=judgment, **{**COMMON, **changes})


def ids(store: FeedbackStore) -> list[str]:
    return [*store.current("pairwise")["id"], *store.current("per_image")["id"]]


def test_a_new_store_is_empty(open_again: Open) -> None:
    store = open_again()
    assert store.is_empty()
    assert store.fingerprint() == {}
    assert store.check() == store.unverified() == 0
    assert store.accept() == []
    assert store.rows_since(START).rows == []
    for table, columns in TABLES.items():
        assert tuple(store.all_rows(table).columns) == columns
        assert len(store.current(table)) == 0


def test_what_is_appended_is_there_for_all(open_again: Open) -> None:
    one, other = open_again(), open_again()
    stored = [pair("1"), single("2"), pair("3", label_a="'quoted\" 🐜")]
    assert one.append(stored) == 3  # type: ignore[arg-type]
    assert not other.is_empty()
    rows = [row for table in TABLES for row in other.all_rows(table).to_dict("records")]
    assert rows == [as_row(judgment) for judgment in (stored[0], stored[2], stored[1])]  # type: ignore[arg-type]
    assert other.check({"img"}, ("=ant", "be,e", "bee", "'quoted\" 🐜")) == 3


def test_an_id_is_stored_once(open_again: Open) -> None:
    one, other = open_again(), open_again()
    assert [one.append([pair("1"), pair("1")]), one.append([pair("1")]), other.append([pair("1", choice="b")])] == [
        1,
        0,
        0,
    ]
    assert list(one.comparisons()["choice"]) == ["a"]


def test_retraction_takes_back_and_removes_nothing(open_again: Open) -> None:
    store = open_again()
    store.append([pair("1"), pair("2"), single("3")])  # type: ignore[list-item]
    assert store.append([pair("back-1", retracts="1"), single("back-3", retracts="3")]) == 2  # type: ignore[list-item]
    assert ids(store) == ["2"]
    assert store.append([pair("again", retracts="1")]) == 0, "it is taken back already"
    assert [len(store.all_rows(table)) for table in TABLES] == [3, 2]
    with pytest.raises(FeedbackError, match="judgment 'x' takes back 'gone', which is not stored"):
        store.append([pair("4"), pair("x", retracts="gone")])
    assert ids(open_again()) == ["2"], "all or nothing"


def test_a_retraction_may_come_before_what_it_takes_back(open_again: Open) -> None:
    store = open_again()
    assert store.append([pair("back", retracts="1"), pair("1"), pair("2")]) == 3
    assert ids(store) == ["2"]


def test_rows_since_a_position_are_those_of_all(open_again: Open) -> None:
    one, other = open_again(), open_again()
    one.append([pair("1"), single("2")])  # type: ignore[list-item]
    first = other.rows_since(START)
    assert (sorted(row["id"] for row in first.rows), first.reset) == (["1", "2"], False)
    assert {row["id"]: row for row in first.rows}["1"] == as_row(pair("1"))
    assert other.rows_since(first.position) == type(first)([], first.position)
    other.append([single("3")])  # type: ignore[list-item]
    one.append([pair("4")])
    added = other.rows_since(first.position)
    assert sorted(row["id"] for row in added.rows) == ["3", "4"]
    kept = Position(str(added.position))
    one.append([pair("5")])
    assert [row["id"] for row in open_again().rows_since(kept).rows] == ["5"], "valid in another process"


def test_written_rows_are_between_their_positions(open_again: Open) -> None:
    """Who has read up to `start` and wrote the rows need not read them again."""
    one, other = open_again(), open_again()
    one.append([pair("1")])
    here = one.rows_since(START).position
    written = one.write([pair("2"), single("3")])  # type: ignore[list-item]
    assert (written.count, written.start) == (2, here)
    assert one.rows_since(written.end).rows == []
    other.append([pair("4")])
    written = one.write([pair("5")])
    assert written.start != one.rows_since(START).position
    assert sorted(row["id"] for row in one.rows_since(here).rows) == ["2", "3", "4", "5"]
    assert one.write([]).count == one.write([pair("5")]).count == 0


def test_the_fingerprint_changes_with_the_contents_alone(open_again: Open) -> None:
    one, other = open_again(), open_again()
    one.append([pair("1")])
    before = one.fingerprint()
    assert before == other.fingerprint()
    assert all(len(value) == 64 for value in before.values())
    other.append([pair("1")])
    assert one.fingerprint() == before
    other.append([pair("2")])
    assert one.fingerprint() != before


def test_a_store_emptied_on_purpose_is_empty(tmp_path: Path) -> None:
    """A file of the CSV store that is gone is missed; once that is accepted, the store is as good as new."""
    store = CsvFeedbackStore(tmp_path)
    store.append([pair("1")])
    (tmp_path / "pairwise.csv").unlink()
    with pytest.raises(ChangedError, match="the file is gone"):
        store.is_empty()
    assert store.accept() == []
    assert store.is_empty()
    assert store.append([pair("1")]) == 1
    assert not store.is_empty()


def test_late_answers_are_apart(open_again: Open) -> None:
    store = open_again()
    store.late.append([pair("late")])
    assert store.is_empty()
    assert list(open_again().late.comparisons()["id"]) == ["late"]
    assert store.append([pair("late")]) == 1


def test_messages_say_where(open_again: Open) -> None:
    store = open_again()
    store.append([single("1"), single("2", retracts="1"), label_choice("other", "bee", id="3", **COMMON)])  # type: ignore[list-item,arg-type]
    row = store.current("per_image").index[0]
    where = store.where("per_image", row)
    assert store.location in where
    assert store.table_location("per_image") in where
    with pytest.raises(FeedbackError, match="image is 'other'; there is no such image") as error:
        store.check({"img"})
    assert str(error.value).startswith(where)


def test_quality_is_of_the_current_judgments(open_again: Open) -> None:
    store = open_again()
    store.append([single("1"), single("2", annotator="bob"), single("3", retracts="2", annotator="bob")])  # type: ignore[list-item]
    found = store.quality({"img": "bee"})
    assert list(found.annotators["annotator"]) == ["ann"]
    assert list(found.annotators["gold_accuracy"]) == [1.0]


def test_threads_share_a_store(open_again: Open) -> None:
    store = open_again()
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda number: store.append([pair(str(number % 20))]), range(40)))
    assert sum(counts) == 20
    assert sorted(ids(store), key=int) == [str(number) for number in range(20)]
