"""A page's answer as rows: ids, cells, and the answer that is read from them again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.pages import PageRow, answer_id, page_answer, page_row, read_page_answer
from feedback_store.records import PerImage
from feedback_store.schemas import schemas
from feedback_store.schemas.base import Subject
from feedback_store.tables import as_row

PAGE = "0123456789abcdef01234567"
SCHEMA = schemas.get("grid")
SUBJECT = Subject(("img-a", "img-b", "img-c"), ("bee",))


def rows_of(answer: str, **more: object) -> list[dict[str, str]]:
    common = {"annotator": "ann", "source": "web", "page": PAGE, "id": "answer-1", **more}
    return [as_row(row) for row in SCHEMA.records(SUBJECT, answer, **common)]  # type: ignore[arg-type]


def test_ids_name_answer_page_and_place() -> None:
    assert page_row(f"answer-1:{PAGE}:07") == PageRow("answer-1", PAGE, 7)
    assert answer_id(f"answer-1:{PAGE}:07") == "answer-1"
    for other in ("answer-1", f"answer-1:{PAGE}:7", f"answer-1:{PAGE[:-1]}:07", f"{PAGE}:07", f"a:b:c:{PAGE}:07"):
        assert page_row(other) is None
        assert answer_id(other) == other


def test_answers_as_text() -> None:
    assert page_answer("bee", {10, 2}) == "2,10:bee"
    assert page_answer("a:b, c", []) == ":a:b, c"
    assert read_page_answer("2,10:bee") == ("bee", [2, 10])
    assert read_page_answer(":a:b, c") == ("a:b, c", [])
    for bad in ("bee", "10,2:bee", "2,2:bee", "02:bee", "-1:bee", "2,:bee", "x:bee", " 2:bee"):
        with pytest.raises(ValueError, match="is not places"):
            read_page_answer(bad)


def test_rows_of_an_answer() -> None:
    """The class was changed to ant, and the second image is an exception; the time is that of the page, once."""
    rows = rows_of("1:ant", response_ms=4200)
    assert [row["id"] for row in rows] == [f"answer-1:{PAGE}:{place}" for place in ("00", "01", "02")]
    cells = [(row["image"], row["question"], row["label"], row["answer"], row["response_ms"]) for row in rows]
    assert cells == [
        ("img-a", "grid", "ant", "unmarked", "4200"),
        ("img-b", "grid", "ant", "marked", ""),
        ("img-c", "grid", "ant", "unmarked", ""),
    ]
    assert [row["retracts"] for row in rows_of("1:ant", retracts="answer-0")] == [
        f"answer-0:{PAGE}:{place}" for place in ("00", "01", "02")
    ]
    assert {row["answer"] for row in rows_of("cant_tell")} == {"cant_tell"}
    for bad in ("3:ant", "yes", "marked"):
        with pytest.raises(FeedbackError, match="answer is"):
            rows_of(bad)
    with pytest.raises(FeedbackError, match="stored as several rows"):
        SCHEMA.record(SUBJECT, "marked", annotator="ann", source="web")


@pytest.mark.parametrize("answer", [":bee", "0,2:ant", "cant_tell", "1:a:b"])
def test_the_answer_is_read_from_its_rows(answer: str) -> None:
    text = None
    for row in rows_of(answer):
        text = SCHEMA.folded(text, row)
    assert text == answer


def test_an_image_that_was_judged_alone_is_a_page_of_one() -> None:
    alone = PerImage(image="img-a", question="grid", label="bee", answer="marked", annotator="ann", source="import")
    assert SCHEMA.folded(None, as_row(alone)) == "marked"
    with pytest.raises(FeedbackError, match="marked, unmarked"):
        PerImage(image="img-a", question="grid", label="bee", answer="yes", annotator="ann", source="import")


def test_stored_rows_and_their_quality(tmp_path: Path) -> None:
    """bob misses the exception img-b that ann marks; both are right about img-a."""
    store = CsvFeedbackStore(tmp_path)
    for who, answer in (("ann", "1:bee"), ("bob", "2:bee")):
        common = {"annotator": who, "source": "web", "page": PAGE, "id": f"answer-{who}", "response_ms": 6000}
        assert store.append(SCHEMA.records(SUBJECT, answer, **common)) == 3  # type: ignore[arg-type]
        assert store.append(SCHEMA.records(SUBJECT, answer, **common)) == 0, "sent twice"  # type: ignore[arg-type]
    assert store.check(["img-a", "img-b", "img-c"], ["ant", "bee"]) == 6
    quality = store.quality({"img-a": "bee", "img-b": "ant"})
    people = quality.annotators.set_index("annotator")
    assert people.loc["ann", ["gold", "gold_accuracy"]].tolist() == [2, 1.0]
    assert people.loc["bob", ["gold", "gold_accuracy"]].tolist() == [2, 0.5]
    assert people.loc["ann", "median_ms"] == 6000
    [line] = quality.questions.to_dict("records")
    assert (line["question"], line["judgments"], line["items"]) == ("grid", 6, 3)
    assert line["agreement"] == pytest.approx(1 / 3), "of img-a alone"
    header = (tmp_path / "per_image.csv").read_text().splitlines()[0]
    assert header == ",".join(pd.read_csv(tmp_path / "per_image.csv").columns)
    assert "page" not in header, "earlier versions read these columns"
