"""The store loses nothing and accepts nothing bad in silence."""

from __future__ import annotations

import csv
import multiprocessing
import os
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_store.csv_log import CsvLog
from feedback_store.errors import FeedbackError, FeedbackWarning
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
        shutil.copy(log.seal.path, cut.seal.path)
        cut.path.write_bytes(full[:length])
        expected = ["1", "2", "3"] if length == len(full) else ["1", "2"]
        with nullcontext() if length == len(full) else pytest.warns(FeedbackWarning):
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

        os.write(handle, data[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_log._write_all", full)
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


def sealed(folder: Path, rows: int) -> CsvLog:
    """A log of that many appends."""
    log = CsvLog(folder / "x.csv", COLUMNS)
    for number in range(rows):
        log.append([(f"id{number}", f"text {number}", "é, and more")])
    return log


@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_byte_is_accepted_in_silence(
    tmp_path_factory: pytest.TempPathFactory, place: float, mask: int
) -> None:
    """Any other value of any byte is an error that names the line, or (a lost line end) a warning with the rest intact."""
    log = sealed(tmp_path_factory.mktemp("flip"), 4)
    stored = log.read()
    data = bytearray(log.path.read_bytes())
    position = int(place * len(data))
    data[position] ^= mask
    log.path.write_bytes(data)
    line = bytes(data[:position]).count(b"\n") + 1
    if position == len(data) - 1:
        with pytest.warns(FeedbackWarning, match="torn"):
            assert log.read().equals(stored.iloc[:-1])
    else:
        with pytest.raises(FeedbackError) as error:
            log.read()
        named = [int(n) for n in re.search(r", lines? (\d+)(?: to (\d+))?", str(error.value)).groups() if n]  # type: ignore[union-attr]
        assert min(named) - 1 <= line <= max(named) + 1


def test_a_changed_line_is_named_and_can_be_accepted(tmp_path: Path) -> None:
    log = sealed(tmp_path, 5)
    log.path.write_bytes(log.path.read_bytes().replace(b"text 2", b"texT 2"))
    with pytest.raises(FeedbackError, match=r"line 4: not what was stored.*--accept"):
        log.read()
    assert log.append([("6", "appending", "goes on")]) == 1
    with pytest.raises(FeedbackError, match="line 4"):
        CsvLog(log.path, COLUMNS).read()
    log.accept()
    assert len(log.read()) == 6


def test_a_deleted_line_is_noticed(tmp_path: Path) -> None:
    log = sealed(tmp_path, 5)
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.warns(FeedbackWarning, match="gone from its end"), pytest.raises(FeedbackError, match="line 3"):
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


def test_rows_since(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    assert log.rows_since(0) == ([], 0)
    log.append([("1", "=a", 'b "c", d')])
    rows, offset = log.rows_since(0)
    assert rows == [{"id": "1", "x": "=a", "y": 'b "c", d'}]
    assert log.rows_since(offset) == ([], offset)
    log.append([("2", "", "")])
    with log.path.open("ab") as file:
        file.write(b"3,torn")
    assert [row["id"] for row in log.rows_since(offset)[0]] == ["2"]


def test_rows_since_names_a_row_that_is_none(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "x.csv", COLUMNS)
    log.append([("1", "a", "b")])
    offset = log.rows_since(0)[1]
    with log.path.open("ab") as file:
        file.write(b"2,too few\r\n")
    with pytest.raises(FeedbackError, match=r"x\.csv, line 3: 2 cells where 3 belong"):
        log.rows_since(offset)


PAIR = "1,2026-11-21T10:00:00.000Z,ann,0,img-1,ant,img-1,bee,a,a,120,web,"
ONE = "1,2026-11-21T10:00:00.000Z,ann,0,img-1,verdict,ant,yes,120,web,"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("2026-11-21T10", "2026-13-21T10", "created_at is '2026-13-21T10:00:00.000Z'"),
        ("2026-11-21T10:00:00.000Z", "yesterday", "created_at is 'yesterday'"),
        (",0,img", ",x,img", "round is 'x'"),
        (",a,a,", ",c,a,", "choice is 'c'"),
        (",a,a,", ",a,left,", "shown_first is 'left'"),
        (",120,", ",fast,", "response_ms is 'fast'"),
        ("img-1,ant", ",ant", "image_a is ''"),
        ("ann", "", "annotator is ''"),
        ("web,", "web,7", "retracts is '7'; no row has that id"),
        ("ann", "a\x07n", "annotator is"),
        ("ann", "a\u2028n", "annotator is"),
    ],
)
def test_a_bad_cell_of_a_comparison_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    good = PAIR.replace("1,", "0,", 1)
    path = tmp_path / "pairwise.csv"
    path.write_text("\n".join([",".join(PAIRWISE), good, PAIR.replace(old, new, 1), ""]), encoding="utf-8")
    with pytest.raises(FeedbackError, match=f"line 3: {message}") as error:
        FeedbackStore(tmp_path).comparisons()
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("verdict", "opinion", "question is 'opinion'"),
        ("yes", "ja", "answer is 'ja'; a verdict"),
        ("verdict,ant,yes", "rating,ant,good", "answer is 'good'; a rating"),
        ("verdict,ant,yes", "rating,ant,0", "answer is '0'; a rating"),
        ("ant,yes", ",yes", "label is ''; the label asked about"),
    ],
)
def test_a_bad_cell_of_a_per_image_judgment_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "per_image.csv"
    path.write_text("\n".join([",".join(PER_IMAGE), ONE.replace(old, new, 1), ""]), encoding="utf-8")
    with pytest.raises(FeedbackError, match=f"line 2: {message}"):
        FeedbackStore(tmp_path).per_image_judgments()


def test_unknown_images_and_classes_are_named(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path)
    store.append([comparison(id="1"), label_choice("img-2", "wasp", id="2", annotator="ann", source="web")])
    assert store.check() == 2
    assert store.check({"img-1", "img-2"}, ("ant", "bee", "wasp")) == 2
    with pytest.raises(FeedbackError, match=r"per_image.csv, line 2: image is 'img-2'; there is no such image"):
        store.check({"img-1"}, None)
    with pytest.raises(FeedbackError, match=r"per_image.csv, line 2: answer is 'wasp'.*ant, bee"):
        store.check(None, ("ant", "bee"))
    with pytest.raises(FeedbackError, match=r"pairwise.csv, line 2: label_b is 'bee'"):
        store.check(None, ("ant", "wasp"))


def _killed_while_appending(folder: Path) -> None:
    store = FeedbackStore(folder)
    for number in range(100_000):
        store.append([comparison(id=str(number))])
        with (folder / "acknowledged").open("a") as file:
            file.write(f"{number}\n")


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_killed_while_appending, args=(tmp_path,))
    process.start()
    while not (tmp_path / "acknowledged").is_file() or (tmp_path / "acknowledged").stat().st_size < 200:
        assert process.is_alive()
    process.kill()
    process.join()
    acknowledged = (tmp_path / "acknowledged").read_text().split()
    store = FeedbackStore(tmp_path)
    store.append([comparison(id="after")])
    stored = list(store.comparisons()["id"])
    assert stored[: len(acknowledged)] == acknowledged
    assert stored[-1] == "after"
