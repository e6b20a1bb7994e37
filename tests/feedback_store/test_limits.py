"""What can be stored can be read: every writer and every reader applies the same limits."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import fuzz

from feedback_store.csv_store.checks import check_pairwise, check_per_image
from feedback_store.csv_store.columns import PAIRWISE, PER_IMAGE
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import ChangedError, FeedbackError
from feedback_store.records import Comparison, Judgment, PerImage
from feedback_store.tables import as_row

PAIR: dict[str, Any] = {
    "id": "1",
    "created_at": "2026-11-21T10:00:00.000Z",
    "annotator": "ann",
    "source": "web",
    "image_a": "i",
    "label_a": "ant",
    "image_b": "i",
    "label_b": "bee",
    "choice": "a",
    "shown_first": "a",
    "round": 0,
    "response_ms": None,
}
ONE: dict[str, Any] = {
    "id": "1",
    "created_at": "2026-11-21T10:00:00.000Z",
    "annotator": "ann",
    "source": "web",
    "image": "i",
    "question": "rating",
    "label": "ant",
    "answer": "4",
    "round": 0,
    "response_ms": None,
}

texts = st.one_of(
    st.text(max_size=12), st.sampled_from(["", "a", "=1+1", "'", '"', ",", " x ", "é🐜", "\ufeff", "NULL", "nan"])
)
times = st.one_of(
    st.datetimes().map(lambda time: time.isoformat() + "Z"),
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,7})?(Z|\+00:00)", fullmatch=True
    ),
)
numbers = st.one_of(st.integers(0, 10**16), st.integers(-5, 5), st.booleans())
CELLS = {
    "created_at": times,
    "round": numbers,
    "response_ms": st.none() | numbers,
    "choice": st.sampled_from(["a", "b", "tie", "cant_tell", "A", "c"]),
    "shown_first": st.sampled_from(["a", "b", ""]),
    "question": st.sampled_from(["label", "verdict", "rating", "why"]),
    "answer": st.one_of(st.sampled_from(["yes", "no", "1", "99", "100", "1\u0663", "cant_tell"]), texts),
}


def strategies(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A good record with some of its cells replaced by anything."""
    some = st.lists(st.sampled_from(sorted(fields)), max_size=3, unique=True)
    return some.flatmap(lambda names: st.fixed_dictionaries({name: CELLS.get(name, texts) for name in names})).map(
        lambda changes: fields | changes
    )


@fuzz
@given(fields=st.one_of(strategies(PAIR), strategies(ONE)))
def test_every_judgment_that_can_be_made_comes_back(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    kind = Comparison if "choice" in fields else PerImage
    try:
        judgment: Judgment = kind(**fields)
    except FeedbackError:
        return
    store = CsvFeedbackStore(tmp_path_factory.mktemp("store"))
    other = replace(judgment, id=judgment.id + "2")
    assert store.append([judgment, other]) == 2
    for process in (store, CsvFeedbackStore(store.folder)):
        frames = process.comparisons(), process.per_image_judgments()
        assert [row for frame in frames for row in frame.to_dict("records")] == [as_row(judgment), as_row(other)]
        assert process.append([judgment]) == 0


@fuzz
@given(fields=st.one_of(strategies(PAIR), strategies(ONE)))
def test_rows_are_checked_as_judgments_are(fields: dict[str, Any]) -> None:
    """What one refuses the other refuses: a file holds no row that the program could not have written."""
    columns, check = (PAIRWISE, check_pairwise) if "choice" in fields else (PER_IMAGE, check_per_image)
    cells = {name: "" if fields.get(name) is None else str(fields[name]) for name in columns}
    if any("\ud800" <= character <= "\udfff" for cell in cells.values() for character in cell):
        return  # no file in UTF-8 holds that
    frame = pd.DataFrame({name: pd.Series([cell], dtype=str) for name, cell in cells.items()})
    made = refused(lambda: (Comparison if "choice" in fields else PerImage)(**fields))
    read = refused(lambda: check(frame, Path("x.csv")))
    assert (made is None) == (read is None), (made, read)


def refused(act: Callable[[], object]) -> str | None:
    try:
        act()
    except FeedbackError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"response_ms": 10**15},
            "response_ms is 1000000000000000; it must be a whole number from 0 to 999999999999999",
        ),
        ({"round": 10**5000}, "round is a value of type int; it must be a whole number"),
        ({"round": True}, "round is True; it must be a whole number"),
        ({"response_ms": 1.5}, "response_ms is 1.5; it must be a whole number"),
        ({"annotator": "n" * 200_000}, "annotator has 200000 characters; at most 10000 can be stored"),
        ({"annotator": 7}, "annotator is 7; it must be text"),
        ({"label_a": "half \ud83d"}, "label_a holds a control character, a line break or an unpaired surrogate"),
        (
            {"created_at": "0001-01-01T00:00:00Z"},
            "created_at is '0001-01-01T00:00:00Z'; it must be UTC .* in the years 1700 to 2199",
        ),
        ({"created_at": "\uff12026-01-31T12:00:00Z"}, "it must be UTC"),
        ({"created_at": "2026-02-30T12:00:00Z"}, "it must be UTC"),
        ({"choice": ["a"]}, "choice is .'a'.; it must be text"),
    ],
)
def test_what_could_not_be_read_back_cannot_be_made(change: dict[str, Any], message: str) -> None:
    with pytest.raises(FeedbackError, match=message):
        Comparison(**PAIR | change)


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    store = CsvFeedbackStore(tmp_path)
    store.append([Comparison(**PAIR | {"response_ms": np.int64(7)})])
    assert list(store.comparisons()["response_ms"]) == ["7"]


def test_the_largest_row_that_can_be_stored_is_read_by_all(tmp_path: Path) -> None:
    """Every cell at its limit, and each character four bytes: far below what either CSV reader takes."""
    long = dict.fromkeys(("id", "annotator", "source", "image_a", "label_a", "image_b", "label_b"), "🐜" * 10000)
    store = CsvFeedbackStore(tmp_path)
    for again in (store, CsvFeedbackStore(tmp_path)):
        again.append([Comparison(**PAIR | long), Comparison(**PAIR)])
        assert len(again.comparisons()) == 2
    with store.pairwise.path.open(newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file))) == 3


@pytest.mark.parametrize("length", [200_000, 2_000_000])
def test_a_long_name_of_an_earlier_version_is_named_with_its_line(tmp_path: Path, length: int) -> None:
    """Such a file could be written, and every later import and collection died with "field larger than field limit"."""
    cells = [as_row(Comparison(**PAIR | {"id": str(number)})) for number in range(3)]
    cells[1]["annotator"] = "n" * length
    store = CsvFeedbackStore(tmp_path)
    store.pairwise.path.write_text("\n".join([",".join(PAIRWISE), *(",".join(row.values()) for row in cells), ""]))
    for act in (store.comparisons, lambda: store.append([Comparison(**PAIR | {"id": "new"})])):
        with pytest.raises(
            FeedbackError, match=r"pairwise.csv, line 3: .*10000 characters; fix or delete the line"
        ) as error:
            act()
        assert len(str(error.value)) < 500


def test_taking_back_twice_stores_one_row(tmp_path: Path) -> None:
    """Also in one batch, and when another process did it first."""
    one, other = CsvFeedbackStore(tmp_path), CsvFeedbackStore(tmp_path)
    pairs = [Comparison(**PAIR | {"id": number}) for number in "123"]
    one.append(pairs)
    other.append([])
    back = [replace(pairs[0], id=f"back-{number}", retracts="1") for number in range(4)]
    assert one.append([back[0], back[1]]) == 1
    assert other.append([back[2]]) == 0
    assert CsvFeedbackStore(tmp_path).append([back[3], replace(pairs[1], id="back-5", retracts="2")]) == 1
    assert list(one.all_rows("pairwise")["id"]) == ["1", "2", "3", "back-0", "back-5"]
    assert list(one.comparisons()["id"]) == ["3"]


def test_taking_back_what_is_not_there_is_refused(tmp_path: Path) -> None:
    store = CsvFeedbackStore(tmp_path)
    pair = Comparison(**PAIR)
    with pytest.raises(FeedbackError, match="judgment 'back' takes back 'gone', which is not stored"):
        store.append([pair, replace(pair, id="back", retracts="gone")])
    assert store.is_empty()
    assert store.append([pair, replace(pair, id="back", retracts="1")]) == 2


def test_nothing_is_stored_in_one_file_while_the_other_refuses(tmp_path: Path) -> None:
    store = CsvFeedbackStore(tmp_path)
    both = [Comparison(**PAIR), PerImage(**ONE)]
    store.append(both)
    store.per_image.path.write_bytes(store.per_image.path.read_bytes().replace(b"ant", b"bee"))
    before = store.pairwise.path.read_bytes()
    with pytest.raises(ChangedError, match=r"per_image\.csv, line 2: not what was stored"):
        store.append([replace(judgment, id="new") for judgment in both])
    assert store.pairwise.path.read_bytes() == before
