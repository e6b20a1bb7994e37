"""Reading comparisons of texts from CSV files: columns, labels, and bad rows by line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from support.text_runs import write_csv

from feedback_store.errors import FeedbackError
from pipeline.text.pairs_csv import parse_columns, read_pairs, read_texts, unguarded
from pipeline.text.table import text_id


def pairs(path: Path, **more: object) -> list[tuple[str, str, str]]:
    """The comparisons of a file as (text a, text b, choice)."""
    found = read_pairs(path, {}, **more)  # type: ignore[arg-type]
    assert found.imported.rejects == []
    rows = found.imported.judgments
    return [(found.texts[one.image_a], found.texts[one.image_b], one.choice) for one in rows]  # type: ignore[attr-defined]


LESSON = [
    ("Title1", "Title2", "Label"),
    ("How do I sort a list?", "help plz", "Title1"),
    ("urgent!!!", 'What does "yield" do, and why?', "Title2"),
    ("a, b", "c\nd", "tie"),
]


def test_the_lessons_file_is_read_as_it_is(tmp_path: Path) -> None:
    """Which title is better: Title1 is side a, whatever the order of the columns."""
    expected = [
        ("How do I sort a list?", "help plz", "a"),
        ("urgent!!!", 'What does "yield" do, and why?', "b"),
        ("a, b", "c\nd", "tie"),
    ]
    assert pairs(write_csv(tmp_path / "feedback.csv", LESSON)) == expected
    turned = [(label, b, a) for a, b, label in LESSON]
    assert pairs(write_csv(tmp_path / "turned.csv", turned)) == expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("a", "B", " tie "), ["a", "b", "tie"]),
        (("first", "Second", "equal"), ["a", "b", "tie"]),
        (("1", "2", "tie"), ["a", "b", "tie"]),
        (("1.0", "2.0", "2"), ["a", "b", "b"]),
        (("title1", "TITLE2", "same"), ["a", "b", "tie"]),
        (("1", "0", "0.0"), ["a", "b", "b"]),
        (("left", "right", "cant_tell"), ["a", "b", "cant_tell"]),
    ],
)
def test_usual_labels(tmp_path: Path, labels: tuple[str, ...], expected: list[str]) -> None:
    rows = [(f"x{number}", f"y{number}", label) for number, label in enumerate(labels)]
    path = write_csv(tmp_path / "f.csv", [("title1", "TITLE2", "label"), *rows])
    assert [choice for _, _, choice in pairs(path)] == expected


def test_zero_and_one_are_reported_and_can_be_changed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", [("text_a", "text_b", "choice"), ("x", "y", "1"), ("v", "w", "0")])
    assert "1 means the first text is better, 0 the second" in read_pairs(path, {}).note
    own = read_pairs(path, {}, {"1": "b", "0": "a"})
    assert ([one.choice for one in own.imported.judgments], own.note) == (["b", "a"], "")  # type: ignore[attr-defined]
    with_two = write_csv(tmp_path / "g.csv", [("text_a", "text_b", "choice"), ("x", "y", "2"), ("v", "w", "0")])
    (reject,) = read_pairs(with_two, {}).imported.rejects
    assert (reject.line, "unknown label '0'" in reject.reason) == (3, True)


def test_own_meanings_replace_the_usual_ones(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "f.csv", [("text_a", "text_b", "choice"), ("x", "y", "Yes"), ("v", "w", "a")])
    found = read_pairs(path, {}, {"yes": "a", "no": "b"}).imported
    assert [one.choice for one in found.judgments] == ["a"]  # type: ignore[attr-defined]
    assert [(one.line, one.reason) for one in found.rejects] == [
        (3, "unknown label 'a'; it must be one of yes, no, or say what it means with items.choices")
    ]


def test_bad_rows_are_named_by_the_line_on_which_they_begin(tmp_path: Path) -> None:
    text = (
        "Title1,Title2,Label\r\n"
        '"two\nlines",y,a\r\n'  # lines 2 and 3
        "x,,a\r\n"
        "x,y,maybe\r\n"
        "x,y\r\n"
        "x,x,a\r\n"
        "x,y,a,b\r\n"
        "\r\n"
        '"x",z,b\r\n'
    )
    (tmp_path / "f.csv").write_text(text, encoding="utf-8", newline="")
    found = read_pairs(tmp_path / "f.csv", {}).imported
    assert [(one.line, one.reason.partition(";")[0]) for one in found.rejects] == [
        (4, "the text in column 'Title2' is empty"),
        (5, "unknown label 'maybe'"),
        (6, "the label is empty"),
        (7, "both texts are the same"),
        (8, "more cells than the header has"),
    ]
    assert [entry.line for entry in found.entries] == [2, 10]


def test_a_broken_file_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text('text_a,text_b,choice\nx,y,a\nv,"w,b\n', encoding="utf-8")
    found = read_pairs(tmp_path / "f.csv", {}).imported
    assert (len(found.entries), found.rejects[0].line) == (1, 3)
    assert "nothing below this line could be read" in found.rejects[0].reason


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        (
            ("x", "Title2", "Label"),
            {},
            "line 1: no column for text_a among 'x', 'Title2', 'Label'; name it with --columns",
        ),
        (("Title1", "Title2", "y"), {}, "name it with --columns choice=COLUMN or items.label"),
        (("Title1", "Title2", "Label"), {"text_a": "Frage"}, "line 1: no column 'Frage' among"),
        (("Title1", "title1", "Title2", "Label"), {}, "the column 'title1' occurs twice"),
        (("Title1", "Title2", "Label"), {"text_a": "Title2"}, "must be three columns"),
    ],
)
def test_a_missing_column_is_named(
    tmp_path: Path, header: tuple[str, ...], columns: dict[str, str], message: str
) -> None:
    path = write_csv(tmp_path / "f.csv", [header])
    with pytest.raises(FeedbackError) as raised:
        read_pairs(path, columns)
    assert message in str(raised.value)


def test_columns_of_the_command_line() -> None:
    assert parse_columns("text_a=Title1, text_b=B,choice=C") == {"text_a": "Title1", "text_b": "B", "choice": "C"}
    with pytest.raises(FeedbackError, match="--columns: invalid item 'Title1'"):
        parse_columns("Title1")
    with pytest.raises(FeedbackError, match="the names are text_a, text_b, choice"):
        parse_columns("image=x")


def test_an_id_is_a_hash_of_the_text() -> None:
    assert text_id("é") == "text-" + hashlib.sha256("é".encode()).hexdigest()[:16]


def test_the_same_row_has_the_same_id_and_other_lines_another(tmp_path: Path) -> None:
    """The last row is ann's second answer to the same question, not a repetition of the first row."""
    rows = [("x", "y", "a", "ann"), ("x", "y", "a", "bob"), ("x", "y", "b", ""), ("x", "y", "a", "ann")]
    path = write_csv(tmp_path / "f.csv", [("text_a", "text_b", "choice", "annotator"), *rows])
    first, second = (read_pairs(path, {}).imported.judgments for _ in range(2))
    assert [one.id for one in first] == [one.id for one in second]
    assert len({one.id for one in first}) == 4
    assert [one.annotator for one in first] == ["ann", "bob", "imported", "ann"]


def test_apostrophes_of_titles_stay() -> None:
    """Exports put an apostrophe before what a spreadsheet would compute; other apostrophes are part of the text."""
    assert [unguarded(cell) for cell in ("'=1+1", "'Tis the season", "''Tis", "=1")] == [
        "=1+1",
        "'Tis the season",
        "'Tis",
        "=1",
    ]


def test_single_texts(tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_text("one\n\n two \n", encoding="utf-8")
    assert read_texts(tmp_path / "f.txt", None) == [(1, "one"), (3, " two ")]
    path = write_csv(tmp_path / "f.csv", [("id", "Title"), ("1", "x, y"), ("2", ""), ("3", "z")])
    assert read_texts(path, None) == [(2, "x, y"), (4, "z")]
    assert read_texts(path, "id") == [(2, "1"), (3, "2"), (4, "3")]
    with pytest.raises(FeedbackError, match=r"line 1: no column 'y' among 'id', 'Title'; name it with items.column"):
        read_texts(path, "y")
