"""What every cell of the two files must be, checked for a million rows at once; the first bad line is named."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from feedback_store.errors import FeedbackError
from feedback_store.judgments import COMPARISON_CHOICES, CONTROL, NO_ANSWER, QUESTIONS, RATING, TIME, VERDICTS


def _times(column: pd.Series) -> pd.Series:
    shaped = column.str.fullmatch(TIME)
    return shaped & pd.to_datetime(column.where(shaped), format="ISO8601", errors="coerce", utc=True).notna()


def _numbers(column: pd.Series, *, may_be_empty: bool) -> pd.Series:
    good = column.str.fullmatch(r"\d{1,15}")
    return good | (column == "") if may_be_empty else good


def _text(column: pd.Series, *, may_be_empty: bool = False) -> pd.Series:
    good = ~column.str.contains(CONTROL)
    return good if may_be_empty else good & (column != "")


def _first_bad(frame: pd.DataFrame, good: pd.Series, path: Path, column: str, wrong: str) -> None:
    if not good.all():
        line = good.index[int((~good).to_numpy().argmax())]
        raise FeedbackError(f"{path}, line {line}: {column} is {frame[column].loc[line]!r}; {wrong}; mend the line")


def _check_common(frame: pd.DataFrame, path: Path, texts: Collection[str]) -> None:
    for name in ("id", "annotator", "source", *texts):
        _first_bad(frame, _text(frame[name]), path, name, "it must be text without control characters")
    _first_bad(frame, _times(frame["created_at"]), path, "created_at", "it must be UTC as 2026-01-31T12:00:00.000Z")
    _first_bad(frame, _numbers(frame["round"], may_be_empty=False), path, "round", "it must be a whole number from 0")
    _first_bad(
        frame, _numbers(frame["response_ms"], may_be_empty=True), path, "response_ms",
        "it must be a whole number of milliseconds, or empty",
    )  # fmt: skip
    retracts = frame["retracts"][frame["retracts"] != ""]
    stored = frame["id"][frame["id"].isin(retracts)]  # this way round the looked-up set is the small one
    _first_bad(frame, retracts.isin(stored), path, "retracts", "no row has that id")


def check_pairwise(frame: pd.DataFrame, path: Path) -> None:
    """Raise FeedbackError for the first row, column by column, that is no comparison."""
    _check_common(frame, path, ("image_a", "label_a", "image_b", "label_b"))
    choices = ", ".join(COMPARISON_CHOICES)
    _first_bad(frame, frame["choice"].isin(COMPARISON_CHOICES), path, "choice", f"it must be one of {choices}")
    _first_bad(frame, frame["shown_first"].isin(("a", "b")), path, "shown_first", "it must be a or b")


def check_per_image(frame: pd.DataFrame, path: Path) -> None:
    """Raise FeedbackError for the first row, column by column, that is no judgment of one image."""
    _check_common(frame, path, ("image", "answer"))
    question, answer = frame["question"], frame["answer"]
    _first_bad(frame, question.isin(QUESTIONS), path, "question", f"it must be one of {', '.join(QUESTIONS)}")
    _first_bad(frame, _text(frame["label"], may_be_empty=True), path, "label", "it holds a control character")
    _first_bad(frame, (frame["label"] != "") | (question == "label"), path, "label", "the label asked about is missing")
    none = answer.isin(NO_ANSWER)
    verdicts = none | (question != "verdict") | answer.isin(VERDICTS)
    _first_bad(frame, verdicts, path, "answer", f"a verdict is one of {', '.join((*VERDICTS, *NO_ANSWER))}")
    ratings = none | (question != "rating") | answer.str.fullmatch(RATING)
    _first_bad(frame, ratings, path, "answer", "a rating is a whole number from 1 to 99")


def check_names(
    frame: pd.DataFrame, path: Path, images: Collection[str] | None, classes: Collection[str] | None
) -> None:
    """Raise FeedbackError for the first row that names an image or a class that does not exist."""
    if images is not None:
        for column in frame.columns.intersection(["image_a", "image_b", "image"]):
            _first_bad(frame, frame[column].isin(images), path, column, "there is no such image")
    if classes is not None:
        among = f"it is not one of the classes {', '.join(classes)}"
        for column in frame.columns.intersection(["label_a", "label_b", "label"]):
            _first_bad(frame, frame[column].isin(classes) | (frame[column] == ""), path, column, among)
        if "question" in frame:
            free = (frame["question"] != "label") | frame["answer"].isin(NO_ANSWER)
            _first_bad(frame, free | frame["answer"].isin(classes), path, "answer", among)
