"""What every cell of the two files must be, checked for a million rows at once; the first bad line is named.

The rules are those of `judgments`, from `limits`: what one accepts the other accepts.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from feedback_store import limits
from feedback_store.errors import FeedbackError, shown
from feedback_store.records import COMPARISON_CHOICES, SIDES
from feedback_store.schemas import per_image_names, schemas_of


def _times(column: pd.Series) -> pd.Series:
    shaped = column.str.fullmatch(limits.TIME)
    return shaped & pd.to_datetime(column.where(shaped), format="ISO8601", errors="coerce", utc=True).notna()


def _numbers(column: pd.Series, *, may_be_empty: bool) -> pd.Series:
    good = column.str.fullmatch(limits.NUMBER)
    return good | (column == "") if may_be_empty else good


def _first_bad(frame: pd.DataFrame, good: pd.Series, path: Path | str, column: str, wrong: str) -> None:
    if not good.all():
        line = good.index[int((~good).to_numpy().argmax())]
        value = shown(frame[column].loc[line])
        what = frame.index.name or "row"
        raise FeedbackError(f"{path}, {what} {line}: {column} is {value}; {wrong}; fix or delete the {what}")


def _check_text(frame: pd.DataFrame, path: Path, name: str, *, may_be_empty: bool = False) -> None:
    column = frame[name]
    short = column.str.len() <= limits.MAX_CHARACTERS
    _first_bad(frame, short, path, name, f"it must have at most {limits.MAX_CHARACTERS} characters")
    good = ~column.str.contains(limits.CONTROL)
    good = good if may_be_empty else good & (column != "")
    _first_bad(frame, good, path, name, "it must be text without control characters")


def _check_common(frame: pd.DataFrame, path: Path, texts: Collection[str]) -> None:
    for name in ("id", "annotator", "source", *texts):
        _check_text(frame, path, name)
    _check_text(frame, path, "retracts", may_be_empty=True)
    _first_bad(frame, _times(frame["created_at"]), path, "created_at", limits.UTC_TIME)
    _first_bad(frame, _numbers(frame["round"], may_be_empty=False), path, "round", limits.WHOLE_NUMBER)
    measured = _numbers(frame["response_ms"], may_be_empty=True)
    _first_bad(frame, measured, path, "response_ms", f"{limits.WHOLE_NUMBER}, or empty")


def check_pairwise(frame: pd.DataFrame, path: Path) -> None:
    """Raise FeedbackError for the first row, column by column, that is no comparison."""
    _check_common(frame, path, ("image_a", "label_a", "image_b", "label_b"))
    choices = ", ".join(COMPARISON_CHOICES)
    _first_bad(frame, frame["choice"].isin(COMPARISON_CHOICES), path, "choice", f"it must be one of {choices}")
    _first_bad(frame, frame["shown_first"].isin(SIDES), path, "shown_first", "it must be a or b")


def check_per_image(frame: pd.DataFrame, path: Path) -> None:
    """Raise FeedbackError for the first row, column by column, that is no judgment of one image."""
    _check_common(frame, path, ("image", "answer"))
    names = ", ".join(per_image_names())
    kind = f"it must be one of {names}, or the kind of an installed package"
    _first_bad(frame, frame["question"].isin(per_image_names()), path, "question", kind)
    _check_text(frame, path, "label", may_be_empty=True)
    for schema in schemas_of("per_image"):
        own = frame[schema.select(frame)]
        for problem in schema.problems(own):
            _first_bad(own, problem.valid, path, problem.column, problem.rule)


def check_ids(frame: pd.DataFrame, path: Path, known: Collection[str] = ()) -> None:
    """Raise FeedbackError for the first row with the id of an earlier one, or that takes back a row that does not exist.

    Args:
        frame: rows of a log, with its first column the id; `retracts` is checked where there is such a column.
        known: ids of the rows before these.
    """
    ids = frame.iloc[:, 0]
    repeated = ids.duplicated() | _among(ids, known)
    if repeated.any():
        line = frame.index[int(repeated.to_numpy().argmax())]
        raise FeedbackError(f"{path}, line {line}: the id {shown(ids.loc[line])} stands twice; delete one of the rows")
    if "retracts" in frame:
        retracts = frame["retracts"][frame["retracts"] != ""]
        stored = ids[ids.isin(retracts)]  # this way round the looked-up set is the small one
        _first_bad(frame, retracts.isin(stored) | _among(retracts, known), path, "retracts", "no row has that id")


def _among(column: pd.Series, known: Collection[str]) -> pd.Series:
    """As `isin`, for a short column and a large set, which pandas would copy."""
    return pd.Series([value in known for value in column] if known else False, index=column.index, dtype=bool)


def check_names(
    frame: pd.DataFrame, path: Path | str, images: Collection[str] | None, classes: Collection[str] | None
) -> None:
    """Raise FeedbackError for the first row that names an image or a class that does not exist."""
    if images is not None:
        for column in frame.columns.intersection(["image_a", "image_b", "image"]):
            _first_bad(frame, frame[column].isin(images), path, column, "there is no such image")
    if classes is not None:
        among = f"it is not one of the classes {', '.join(classes)}"
        for schema in schemas_of("pairwise" if "choice" in frame else "per_image"):
            own = frame[schema.select(frame)]
            for problem in schema.label_problems(own, classes):
                _first_bad(own, problem.valid, path, problem.column, problem.rule or among)
