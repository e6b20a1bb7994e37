"""The store loses nothing and accepts nothing bad in silence."""

from __future__ import annotations

import csv
import multiprocessing
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_store.csv_log import CsvLog
from feedback_store.errors import FeedbackError
from feedback_store.judgments import Comparison, PerImage, label_choice, rating, verdict
from feedback_store.store import PAIRWISE, PER_IMAGE, FeedbackStore

COLUMNS = ("id", "x", "y")


def comparison(**changes: object) -> Comparison:
    fields = {"annotator": "ann", "source": "web", "image_a": "img-1", "label_a": "ant", "image_b": "img-1"}
    return Comparison(**{**fields, "label_b": "bee", "choice": "a", **changes})  # type: ignore[arg-type]


def test_columns_are_the_documented_ones(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.append([comparison(id="1"), label_choice("img-2", "bee", id="2", annotator="ann", source="web")])
    pairs, images = pd.read_csv(tmp_path / "pairwise.csv"), pd.read_csv(tmp_path / "per_image.csv")
    assert tuple(pairs.columns) == PAIRWISE
    assert tuple(images.columns) == PER_IMAGE
    assert pairs.loc[0, "label_a"] == "ant"
    assert images.loc[0, "answer"] == "bee"


def test_every_kind_comes_back(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    common = {"annotator": "ann", "source": "web", "response_ms": 812, "round": 2}
    kinds = [
        comparison(choice="tie", shown_first="b", **common),
        label_choice("img-1", "bee", **common),
        verdict("img-1", "ant", "no", **common),
        rating("img-1", "ant", 4, **common),
    ]
    assert store.append(kinds) == 4
    pair = store.comparisons().iloc[0]
    assert (pair["choice"], pair["shown_first"], pair["response_ms"], pair["round"]) == ("tie", "b", "812", "2")
    assert list(store.per_image_judgments()["question"]) == ["label", "verdict", "rating"]
    assert store.per_image_judgments("rating").iloc[0]["answer"] == "4"


def test_sending_twice_stores_once_also_by_another_process(tmp_path: Path) -> None:
    one, other = FeedbackStore(tmp_path), FeedbackStore(tmp_path)
    judged = comparison()
    assert [one.append([judged]), one.append([judged]), other.append([judged, judged])] == [1, 0, 0]
    assert len(one.comparisons()) == 1


def test_retraction_takes_back_but_removes_no_row(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    first, second = comparison(), comparison(choice="b")
    store.append([first, second, comparison(retracts=first.id, choice="cant_tell")])
    assert list(store.comparisons()["id"]) == [second.id]
    assert len(store.pairwise.read()) == 3


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: comparison(choice="c"), "choice is 'c'"),
        (lambda: comparison(label_a=""), "label_a is empty"),
        (lambda: comparison(annotator="a\nb"), "control character"),
        (lambda: comparison(round=-1), "negative"),
        (lambda: comparison(shown_first="left"), "shown_first"),
        (lambda: verdict("i", "ant", "maybe", annotator="a", source="web"), "answer is 'maybe'"),
        (lambda: verdict("i", "", "yes", annotator="a", source="web"), "label is empty"),
        (lambda: PerImage(image="i", question="why", answer="x", annotator="a", source="web"), "question is 'why'"),
        (lambda: PerImage(image="i", question="rating", label="a", answer="good", annotator="a", source="w"), "rating"),
    ],
)
def test_bad_judgments_are_refused(build: object, message: str) -> None:
    with pytest.raises(FeedbackError, match=message):
        build()  # type: ignore[operator]


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
    """A power cut may leave any part of it: whole rows stay, the part is set aside, the next append goes on."""
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    log.append([("1", "eins", "é"), ("2", "zwei", '"quoted", comma')])
    whole = log.path.read_bytes()
    log.append([("3", "drei", "🐜")])
    full = log.path.read_bytes()
    for length in range(len(whole), len(full) + 1):
        folder = tmp_path / str(length)
        folder.mkdir()
        cut = CsvLog(folder / "x.csv", COLUMNS)
        cut.path.write_bytes(full[:length])
        expected = ["1", "2", "3"] if length == len(full) else ["1", "2"]
        assert list(cut.read()["id"]) == expected
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
        ("id,x,y\r\n1,2,3\r\n2,2,3\r\n1,5,6\r\n", "line 4: the id '1' stands twice"),
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
        import os

        os.write(handle, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_log._write_all", full)
        with pytest.raises(FeedbackError, match="No space left"):
            log.append([("2", "c", "d")])
    assert log.path.read_bytes() == before
    assert log.append([("2", "c", "d")]) == 1


def _append_many(folder: Path, writer: int) -> None:
    store = FeedbackStore(folder)
    for number in range(40):
        store.append([comparison(id=f"{writer}-{number}", annotator=f"w{writer}")])


def test_concurrent_writers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(tmp_path, writer)) for writer in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    stored = FeedbackStore(tmp_path).comparisons()
    assert len(stored) == 160
    assert set(stored["id"]) == {f"{w}-{n}" for w in range(4) for n in range(40)}
