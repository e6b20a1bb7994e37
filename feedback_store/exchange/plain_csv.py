"""Read and write CSV with one judgment per row: this project's files, or others whose columns are mapped by `columns`."""

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
from feedback_store.schemas import PerImageSchema, per_image_names, schemas

DEFAULT_KIND = "label"  # of rows without a question: most files have an image and a class
OURS = dict.fromkeys((*PAIRWISE, *PER_IMAGE))
MAX_NAMED = 30  # columns of a header that a message lists


def parse_columns(text: str) -> dict[str, str]:
    """`image=filename,answer=label` as a mapping from this project's column names to the file's.

    Raises:
        FeedbackError: not of that form, or an unknown column name.
    """
    columns = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        ours, equals, theirs = item.partition("=")
        if not equals or ours not in OURS:
            raise FeedbackError(
                f"--columns: invalid item {shown(item)}; write NAME=COLUMN, e.g. image=filename; the names are {', '.join(OURS)}"
            )
        columns[ours] = theirs
    return columns


def read(path: Path, names: Names, columns: Mapping[str, str] | None = None, annotator: str = "imported") -> Imported:
    """Judgments of a CSV file. Comparisons need the column `choice`; other kinds need `image` and `answer`.

    Columns may be in any order; blank lines and empty cells beyond the header are left out.

    Raises:
        FeedbackError: not UTF-8, or a column is missing or occurs twice.
    """
    reader = csv.reader(io.StringIO(utf8_text(path), newline=""), strict=True)
    imported = Imported()
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
                _read_row(cells, header, present, reader.line_num, path.name, names, annotator, imported)
    except csv.Error as error:
        imported.rejects.append(Reject(reader.line_num, f"{_reason(error)}; nothing below this line could be read", {}))
    return _without_retracted(imported.resolve_ids())


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
    imported: Imported,
) -> None:
    record = {name: cell for name, cell in zip(header, cells, strict=False) if name}
    values = {ours: unguarded(cells[place]) if place < len(cells) else "" for ours, place in present.items()}
    try:
        if any(cells[len(header) :]):
            raise FeedbackError("more cells than the header has")
        judgment = _judgment(values, names, annotator, file, line)
    except FeedbackError as error:
        imported.rejects.append(Reject(line, str(error), record))
        return
    has_id, has_time = bool(values.get("id")), bool(values.get("created_at"))
    imported.entries.append(Entry(judgment, line, record, has_id=has_id, has_time=has_time))


def _check_columns(
    path: Path, present: Collection[str], theirs: Mapping[str, str], asked: Collection[str], header: list[str]
) -> None:
    among = ", ".join(map(shown, header[:MAX_NAMED])) + (", ..." if len(header) > MAX_NAMED else "")
    for ours in asked:
        if ours not in present:
            raise FeedbackError(f"{path}, line 1: no column {shown(theirs[ours])} among {among}")
    for ours in present:
        if header.count(theirs[ours]) > 1:
            raise FeedbackError(f"{path}, line 1: the column {shown(theirs[ours])} occurs twice; rename or delete one")
    needed = {"label_a", "label_b", "choice"} if "choice" in present else {"image", "answer"}
    if missing := sorted(needed - set(present)):
        raise FeedbackError(
            f"{path}, line 1: no column {', '.join(missing)} among {among}; name it with --columns {missing[0]}=COLUMN"
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
    schema = schemas.get(question)
    if not isinstance(schema, PerImageSchema):
        raise FeedbackError(
            f"question is {shown(question)}; a row without `choice` needs one of {', '.join(per_image_names())}"
        )
    label, answer = schema.import_cells(record.get("label", ""), record["answer"].strip(), names)
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


def _without_retracted(imported: Imported) -> Imported:
    """Leave out retracted rows and the rows that retract them."""
    retracted = {judgment.retracts for judgment in imported.judgments if judgment.retracts}
    current = [e for e in imported.entries if not e.judgment.retracts and e.judgment.id not in retracted]
    if len(current) < len(imported.entries):
        imported.left_out["retracted rows"] += len(retracted)
        imported.entries = current
    return imported


def guarded_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with cells and header guarded against formulas of spreadsheets."""
    result = frame.copy()
    for name in result.columns:
        if pd.api.types.is_string_dtype(result[name]):
            result[name] = result[name].map(guarded, na_action="ignore")
    result.columns = pd.Index([guarded(str(name)) for name in result.columns])
    return result


def write(path: Path, frame: pd.DataFrame) -> int:
    """Write rows as `FeedbackStore` reads them, guarded against formulas; returns their number."""
    guarded_frame(frame).to_csv(path, index=False, lineterminator="\r\n", encoding="utf-8")
    return len(frame)
