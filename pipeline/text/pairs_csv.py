"""Read comparisons of two texts from any CSV file with two columns of texts and one of labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedback_store.csv_store.line import FORMULA_STARTS
from feedback_store.errors import FeedbackError, shown
from feedback_store.exchange.common import derived_id, utc_time, utf8_text, whole_number
from feedback_store.exchange.imported import Entry, Imported, Reject
from feedback_store.records import Comparison
from pipeline.text.choices import Choices, choices_of
from pipeline.text.kind import BETTER
from pipeline.text.table import text_id

FIELDS = ("text_a", "text_b", "choice")  # as --columns names them
# Names of columns that are found without being named, in lower case; the first that the file has.
USUAL = {
    "text_a": ("title1", "text_a", "text1"),
    "text_b": ("title2", "text_b", "text2"),
    "choice": ("label", "choice"),
}
OPTIONAL = ("id", "created_at", "annotator", "round", "response_ms", "source", "shown_first")
MAX_NAMED = 30  # columns of a header that a message lists


@dataclass(frozen=True)
class PairsFile:
    """The contents of a file: judgments, and the texts that they are about; `note`: how its labels were read."""

    imported: Imported
    texts: Mapping[str, str] = field(repr=False)
    note: str = ""


def parse_columns(text: str) -> dict[str, str]:
    """`text_a=Title1,text_b=Title2,choice=Label` as a mapping.

    Raises:
        FeedbackError: not of that form, or an unknown name.
    """
    columns = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        ours, equals, theirs = item.partition("=")
        if not equals or ours not in (*FIELDS, *OPTIONAL):
            raise FeedbackError(
                f"--columns: invalid item {shown(item)}; write NAME=COLUMN, e.g. text_a=Title1; the names are "
                f"{', '.join((*FIELDS, *OPTIONAL))}"
            )
        columns[ours] = theirs
    return columns


def read_pairs(
    path: Path, columns: Mapping[str, str], choices: Mapping[str, str] | None = None, annotator: str = "imported"
) -> PairsFile:
    """The comparisons of a CSV file; rows that cannot be read are rejects with their line.

    Args:
        columns: the file's name of each field, where it is not one of the usual ones.
        choices: what its labels mean, where they are not the usual ones.

    Raises:
        FeedbackError: not UTF-8, no CSV, or a column is missing.
    """
    header, rows, imported = _rows(path)
    place = _places(path, header, columns)
    labels = [cells[place["choice"]] for _, cells in rows if len(cells) > place["choice"]]
    read = choices_of(labels, {"a": header[place["text_a"]], "b": header[place["text_b"]]}, choices)
    texts: dict[str, str] = {}
    for line, cells in rows:
        record = dict(zip(header, cells, strict=False))
        try:
            if any(cells[len(header) :]):
                raise FeedbackError("more cells than the header has; put texts with commas in quotation marks")
            values = {name: unguarded(cells[at]) if at < len(cells) else "" for name, at in place.items()}
            judgment, own = _judgment(values, header, place, read, annotator, path.name, line)
        except FeedbackError as error:
            imported.rejects.append(Reject(line, str(error), record))
            continue
        texts |= own
        imported.entries.append(Entry(judgment, line, record, has_id=True, has_time=bool(values.get("created_at"))))
    return PairsFile(imported.resolve_ids(), texts, read.note)


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], Imported]:
    """The header, the cells of each row with the line on which it begins, and what could not be read."""
    reader = csv.reader(io.StringIO(utf8_text(path), newline=""), strict=True)
    rows, imported, begin = [], Imported(), 1
    try:
        header = [name.strip() for name in next(reader, [])]
        while True:
            begin = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                break
            if any(cells):
                rows.append((begin, cells))
    except csv.Error as error:
        reason = "a text has more than 131,072 characters" if "field limit" in str(error) else str(error)
        if begin == 1:
            raise FeedbackError(f"{path}, line 1: {reason}; it is not a CSV file with a header") from None
        imported.rejects.append(Reject(begin, f"{reason}; nothing below this line could be read", {}))
    return header, rows, imported


def _places(path: Path, header: list[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Where each field is in a row."""
    lower = [name.casefold() for name in header]
    among = ", ".join(map(shown, header[:MAX_NAMED])) + (", ..." if len(header) > MAX_NAMED else "") or "none"
    place: dict[str, int] = {}
    for name in (*FIELDS, *OPTIONAL):
        wanted = [columns[name]] if name in columns else USUAL.get(name, (name,))
        found = next((one for one in wanted if one.casefold() in lower), None)
        if found is None and (name in FIELDS or name in columns):
            what = shown(columns[name]) if name in columns else f"for {name}"
            example = f"--columns {name}=COLUMN or items.{'label' if name == 'choice' else name}"
            raise FeedbackError(f"{path}, line 1: no column {what} among {among}; name it with {example}")
        if found is not None:
            if lower.count(found.casefold()) > 1:
                raise FeedbackError(f"{path}, line 1: the column {shown(found)} occurs twice; rename or delete one")
            place[name] = header.index(found) if found in header else lower.index(found.casefold())
    if len({place[name] for name in FIELDS}) < len(FIELDS):
        raise FeedbackError(
            f"{path}, line 1: the two texts and the label must be three columns; name them with --columns"
        )
    return place


def _judgment(
    values: Mapping[str, str],
    header: list[str],
    place: Mapping[str, int],
    choices: Choices,
    annotator: str,
    file: str,
    line: int,
) -> tuple[Comparison, dict[str, str]]:
    """A row as a judgment, with its two texts by id."""
    sides = {}
    for name in ("text_a", "text_b"):
        if not values[name].strip():
            raise FeedbackError(f"the text in column {shown(header[place[name]])} is empty")
        sides[name] = text_id(values[name])
    choice = choices.read(values["choice"])
    if sides["text_a"] == sides["text_b"]:
        raise FeedbackError("both texts are the same")
    who = values.get("annotator", "").strip() or annotator
    more: dict[str, Any] = {
        name: number
        for name in ("round", "response_ms")
        if (number := whole_number(name, values.get(name, ""))) is not None
    }
    more |= utc_time(values.get("created_at", ""))
    judgment = Comparison(
        id=values.get("id") or derived_id(file, line, *sides.values(), who),
        annotator=who,
        source=values.get("source") or "import",
        shown_first=values.get("shown_first") or "a",
        image_a=sides["text_a"],
        label_a=BETTER,
        image_b=sides["text_b"],
        label_b=BETTER,
        choice=choice,
        **more,
    )
    return judgment, {one: values[name] for name, one in sides.items()}


def unguarded(cell: str) -> str:
    """The cell without the apostrophe that exports put before what a spreadsheet would read as a formula."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith((*FORMULA_STARTS, "'")) else cell


def read_texts(path: Path, column: str | None) -> list[tuple[int, str]]:
    """Single texts with their lines: of a CSV file's column, or the lines of any other file; empty ones are left out.

    Raises:
        FeedbackError: not UTF-8, no CSV, or no such column.
    """
    if path.suffix.casefold() != ".csv":
        lines = utf8_text(path).splitlines()
        return [(number, text) for number, text in enumerate(lines, start=1) if text.strip()]
    header, rows, imported = _rows(path)
    if imported.rejects:
        raise FeedbackError(f"{path}, line {imported.rejects[0].line}: {imported.rejects[0].reason}")
    lower = [name.casefold() for name in header]
    wanted = [column] if column else [*("text", "title"), *(header if len(header) == 1 else [])]
    found = next((one for one in wanted if one.casefold() in lower), None)
    if found is None:
        what = f"no column {shown(column)}" if column else "no column text or title"
        raise FeedbackError(f"{path}, line 1: {what} among {', '.join(map(shown, header))}; name it with items.column")
    place = lower.index(found.casefold())
    cells = ((line, unguarded(row[place])) for line, row in rows if place < len(row))
    return [(line, text) for line, text in cells if text.strip()]
