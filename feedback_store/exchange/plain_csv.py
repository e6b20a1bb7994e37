"""Any CSV with one judgment a row: our own two files, or another's with `columns` naming which column is what."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from feedback_store.csv_store.columns import PAIRWISE, PER_IMAGE
from feedback_store.csv_store.line import guarded, unguarded
from feedback_store.errors import FeedbackError, shown
from feedback_store.exchange.common import Names, derived_id, utc_time, utf8_text, whole_number
from feedback_store.exchange.imported import Entry, Imported, Reject
from feedback_store.limits import MAX_CHARACTERS
from feedback_store.records import COMPARISON_CHOICES, Comparison, Judgment, PerImage
from feedback_store.schemas import schemas

DEFAULT_KIND = "label"  # of rows that name no question: most files hold image and class
OURS = dict.fromkeys((*PAIRWISE, *PER_IMAGE))
MAX_NAMED = 30  # columns of a header that a message lists


def parse_columns(text: str) -> dict[str, str]:
    """`image=filename,answer=label` as a mapping from our names to the file's.

    Raises:
        FeedbackError: not of that form, or not one of our names.
    """
    columns = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        ours, equals, theirs = item.partition("=")
        if not equals or ours not in OURS:
            raise FeedbackError(
                f"--columns {shown(item)}: write our_name=their_name, our names being {', '.join(OURS)}, as in image=filename"
            )
        columns[ours] = theirs
    return columns


def read(path: Path, names: Names, columns: Mapping[str, str] | None = None, annotator: str = "imported") -> Imported:
    """Judgments of a CSV file. A comparison needs `choice`; anything else needs `image` and `answer`.

    Columns may stand in any order; blank lines and empty cells beyond the header are left out.

    Raises:
        FeedbackError: not UTF-8, or a column is missing or stands twice.
    """
    reader = csv.reader(io.StringIO(utf8_text(path), newline=""), strict=True)
    found = Imported()
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise FeedbackError(f"{path}, line 1: {_reason(error)}; it is not a CSV file with a header") from None
    theirs = {ours: ours for ours in OURS} | dict(columns or {})
    present = {ours: header.index(name) for ours, name in theirs.items() if name in header}
    _check_columns(path, present, theirs, columns or {}, header)
    try:
        for cells in reader:
            if any(cells):
                _read_row(cells, header, present, reader.line_num, path.name, names, annotator, found)
    except csv.Error as error:
        found.rejects.append(Reject(reader.line_num, f"{_reason(error)}; nothing below this line could be read", {}))
    return _without_retracted(found.settle_ids())


def _reason(error: csv.Error) -> str:
    return f"a cell has more than {MAX_CHARACTERS} characters" if "field limit" in str(error) else str(error)


def _read_row(
    cells: list[str],
    header: list[str],
    present: Mapping[str, int],
    line: int,
    file: str,
    names: Names,
    annotator: str,
    found: Imported,
) -> None:
    whole = {name: cell for name, cell in zip(header, cells, strict=False) if name}
    record = {ours: unguarded(cells[place]) if place < len(cells) else "" for ours, place in present.items()}
    try:
        if any(cells[len(header) :]):
            raise FeedbackError("more cells than the header has")
        judgment = _judgment(record, names, annotator, file, line)
    except FeedbackError as error:
        found.rejects.append(Reject(line, str(error), whole))
        return
    own, timed = bool(record.get("id")), bool(record.get("created_at"))
    found.entries.append(Entry(judgment, line, whole, own_id=own, timed=timed))


def _check_columns(
    path: Path, present: Collection[str], theirs: Mapping[str, str], asked: Collection[str], header: list[str]
) -> None:
    among = ", ".join(map(shown, header[:MAX_NAMED])) + (", ..." if len(header) > MAX_NAMED else "")
    for ours in asked:
        if ours not in present:
            raise FeedbackError(f"{path}, line 1: no column {shown(theirs[ours])} among {among}")
    for ours in present:
        if header.count(theirs[ours]) > 1:
            raise FeedbackError(f"{path}, line 1: the column {shown(theirs[ours])} stands twice; rename or delete one")
    needed = {"label_a", "label_b", "choice"} if "choice" in present else {"image", "answer"}
    if missing := sorted(needed - set(present)):
        raise FeedbackError(
            f"{path}, line 1: no column {', '.join(missing)} among {among}; name it with --columns {missing[0]}=their_name"
        )


def _judgment(record: Mapping[str, str], names: Names, annotator: str, file: str, line: int) -> Judgment:
    common: dict[str, Any] = {
        "id": record.get("id") or derived_id(file, line, *sorted(record.items())),
        "annotator": record.get("annotator") or annotator,
        "source": record.get("source") or "import",
        "retracts": record.get("retracts", ""),
        **utc_time(record.get("created_at")),
    }
    for name in ("round", "response_ms"):
        if (number := whole_number(name, record.get(name, ""))) is not None:
            common[name] = number
    if "choice" in record:
        return _comparison(record, names, common)
    question = record.get("question") or DEFAULT_KIND
    label, answer = schemas.get(question).import_cells(record.get("label", ""), record["answer"].strip(), names)
    return PerImage(image=names.image(record["image"]), question=question, label=label, answer=answer, **common)


def _comparison(record: Mapping[str, str], names: Names, common: dict[str, Any]) -> Comparison:
    images = [record.get(side) or record.get("image", "") for side in ("image_a", "image_b")]
    labels = [names.label(record[side]) for side in ("label_a", "label_b")]
    choice = record["choice"].strip()
    if choice not in COMPARISON_CHOICES and labels[0] != labels[1] and choice in labels:
        choice = "ab"[labels.index(choice)]
    return Comparison(
        image_a=names.image(images[0]),
        label_a=labels[0],
        image_b=names.image(images[1]),
        label_b=labels[1],
        choice=choice,
        shown_first=record.get("shown_first") or "a",
        **common,
    )


def _without_retracted(found: Imported) -> Imported:
    """Rows that were taken back are not imported, nor the rows that take them back."""
    gone = {judgment.retracts for judgment in found.judgments if judgment.retracts}
    kept = [entry for entry in found.entries if not entry.judgment.retracts and entry.judgment.id not in gone]
    if len(kept) < len(found.entries):
        found.left_out["rows that were taken back"] += len(gone)
        found.entries = kept
    return found


def guarded_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with no text that a spreadsheet takes for a formula, in cells or in the header."""
    made = frame.copy()
    for name in made.columns:
        if pd.api.types.is_string_dtype(made[name]):
            made[name] = made[name].map(guarded, na_action="ignore")
    made.columns = pd.Index([guarded(str(name)) for name in made.columns])
    return made


def write(path: Path, frame: pd.DataFrame) -> int:
    """Rows as `FeedbackStore` reads them, guarded against formulas as in the store; returns how many."""
    guarded_frame(frame).to_csv(path, index=False, lineterminator="\r\n", encoding="utf-8")
    return len(frame)
