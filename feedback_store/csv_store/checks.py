"""Check all cells of a table by column; the message names the first invalid row.

The rules are those of `feedback_store.records`, from `feedback_store.limits`: both accept the same values.
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
    valid = column.str.fullmatch(limits.NUMBER)
    return valid | (column == "") if may_be_empty else valid


def _check_valid(frame: pd.DataFrame, valid: pd.Series, path: Path | str, column: str, rule: str) -> None:
    """Raise FeedbackError for the first invalid row."""
    if not valid.all():
        line = valid.index[int((~valid).to_numpy().argmax())]
        value = shown(frame[column].loc[line])
        what = frame.index.name or "row"
        raise FeedbackError(f"{path}, {what} {line}: {column} is {value}; {rule}; fix or delete the {what}")


def _check_text(frame: pd.DataFrame, path: Path, name: str, *, may_be_empty: bool = False) -> None:
    column = frame[name]
    short = column.str.len() <= limits.MAX_CHARACTERS
    _check_valid(frame, short, path, name, f"it must have at most {limits.MAX_CHARACTERS} characters")
    valid = ~column.str.contains(limits.CONTROL)
    valid = valid if may_be_empty else valid & (column != "")
    _check_valid(frame, valid, path, name, "it must be text without control characters")


def _check_common(frame: pd.DataFrame, path: Path, texts: Collection[str]) -> None:
    for name in ("id", "annotator", "source", *texts):
        _check_text(frame, path, name)
    _check_text(frame, path, "retracts", may_be_empty=True)
    _check_valid(frame, _times(frame["created_at"]), path, "created_at", limits.UTC_TIME)
    _check_valid(frame, _numbers(frame["round"], may_be_empty=False), path, "round", limits.WHOLE_NUMBER)
    measured = _numbers(frame["response_ms"], may_be_empty=True)
    _check_valid(frame, measured, path, "response_ms", f"{limits.WHOLE_NUMBER}, or empty")


def check_pairwise(frame: pd.DataFrame, path: Path) -> None:
    """Raise FeedbackError for the first row, column by column, that is not a valid comparison."""
    _check_common(frame, path, ("image_a", "label_a", "image_b", "label_b"))
    choices = ", ".join(COMPARISON_CHOICES)
    _check_valid(frame, frame["choice"].isin(COMPARISON_CHOICES), path, "choice", f"it must be one of {choices}")
    _check_valid(frame, frame["shown_first"].isin(SIDES), path, "shown_first", "it must be a or b")


def check_per_image(frame: pd.DataFrame, path: Path) -> None:
    """Raise FeedbackError for the first row, column by column, that is not a valid judgment of one image."""
    _check_common(frame, path, ("image", "answer"))
    names = ", ".join(per_image_names())
    kind = f"it must be one of {names}, or the kind of an installed package"
    _check_valid(frame, frame["question"].isin(per_image_names()), path, "question", kind)
    _check_text(frame, path, "label", may_be_empty=True)
    for schema in schemas_of("per_image"):
        own = frame[schema.select(frame)]
        for problem in schema.problems(own):
            _check_valid(own, problem.valid, path, problem.column, problem.rule)


def check_ids(frame: pd.DataFrame, path: Path, known: Collection[str] = ()) -> None:
    """Raise FeedbackError for the first row with the id of an earlier one, or that retracts a row that does not exist.

    Args:
        frame: rows of a log; the first column is the id, and the column `retracts` is optional.
        known: ids of the rows before these.
    """
    ids = frame.iloc[:, 0]
    repeated = ids.duplicated() | _among(ids, known)
    if repeated.any():
        line = frame.index[int(repeated.to_numpy().argmax())]
        raise FeedbackError(f"{path}, line {line}: the id {shown(ids.loc[line])} is used twice; delete one of the rows")
    if "retracts" in frame:
        retracts = frame["retracts"][frame["retracts"] != ""]
        stored = ids[ids.isin(retracts)]  # the smaller of the two sets is the one to look up
        _check_valid(frame, retracts.isin(stored) | _among(retracts, known), path, "retracts", "no row has that id")


def _among(column: pd.Series, known: Collection[str]) -> pd.Series:
    """As `isin`, without the copy of a large set that pandas makes."""
    return pd.Series([value in known for value in column] if known else False, index=column.index, dtype=bool)


def check_names(
    frame: pd.DataFrame, path: Path | str, images: Collection[str] | None, classes: Collection[str] | None
) -> None:
    """Raise FeedbackError for the first row with an unknown image or class."""
    if images is not None:
        for column in frame.columns.intersection(["image_a", "image_b", "image"]):
            known = [image for image in frame[column].unique() if image in images]
            _check_valid(frame, frame[column].isin(known), path, column, "there is no such image")
    if classes is not None:
        among = f"it is not one of the classes {', '.join(classes)}"
        for schema in schemas_of("pairwise" if "choice" in frame else "per_image"):
            own = frame[schema.select(frame)]
            for problem in schema.label_problems(own, classes):
                _check_valid(own, problem.valid, path, problem.column, problem.rule or among)
