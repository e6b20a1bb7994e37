"""Parse rows of a log into a table of strings; an error names the first malformed line.

pyarrow reads a file in the store's own form. A file that a spreadsheet saved (reordered columns, trailing commas, blank
lines) is read line by line into the same rows, but nothing is appended to it until `accept` has rewritten it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from feedback_store.csv_store.line import unguarded
from feedback_store.errors import FeedbackError
from feedback_store.limits import MAX_CHARACTERS

_BOM = b"\xef\xbb\xbf"
_MAX_HEADER = 65_536


@dataclass(frozen=True, eq=False)
class Parsed:
    """Rows, and whether the file is in the store's own form.

    Attributes:
        frame: every cell a string, without guards against formulas; the index is the line in the file.
        own_form: whether rows can be appended to the file as it is.
    """

    frame: pd.DataFrame
    own_form: bool


def parse_file(data: bytes, columns: Sequence[str], path: Path) -> Parsed:
    """Parse a complete file with its header; every line, including the last one, ends with a line feed.

    Raises:
        FeedbackError: names the file, the line and the reason.
    """
    header = data[:_MAX_HEADER].partition(b"\n")[0]
    if header.removeprefix(_BOM).rstrip(b"\r") == ",".join(columns).encode():
        frame = _own_form(data, columns, 2)
        if frame is not None:
            return Parsed(frame, True)
    return Parsed(_line_by_line(data, columns, _order(header, columns, path), path, 1), False)


def parse_added(data: bytes, columns: Sequence[str], path: Path, first_line: int) -> Parsed:
    """Parse lines from below the header of a file in the store's own form.

    Raises:
        FeedbackError: names the file, the line and the reason.
    """
    # pyarrow removes a byte order mark from the first bytes: let these be an empty line that it skips, not a cell.
    frame = _own_form(b"\n" + data, columns, first_line)
    if frame is not None:
        return Parsed(frame, True)
    return Parsed(_line_by_line(data, columns, list(range(len(columns))), path, first_line), False)


def _own_form(data: bytes, columns: Sequence[str], first_line: int) -> pd.DataFrame | None:
    """Rows of one line each, below a line to skip, with a cell for each column; None if the data has another form."""
    names = list(columns)
    rows = data.count(b"\n") - 1
    if not rows:
        return _table({name: pd.Series(dtype=str) for name in names}, range(0))
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            read_options=arrow_csv.ReadOptions(column_names=names, skip_rows=1),
            parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None
    # pyarrow reads a blank line as a row of empty cells, and a single carriage return as a line end.
    if len(table) != rows or pc.any(pc.equal(table[names[0]], "")).as_py():
        return None
    lines = range(first_line, first_line + len(table))
    return _table({name: _without_guards(table[name]) for name in names}, lines)


def _table(columns: dict[str, pd.Series], lines: Sequence[int]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    frame.index = pd.RangeIndex(lines.start, lines.stop) if isinstance(lines, range) else pd.Index(list(lines))
    frame.index.name = "line"
    return frame


def _without_guards(column: pa.ChunkedArray) -> pd.Series:
    if pc.any(pc.starts_with(column, "'")).as_py():
        column = pc.replace_substring_regex(column, "^'", "")
    return pd.Series(column.to_pandas(), dtype=str)


def _order(header: bytes, columns: Sequence[str], path: Path) -> list[int]:
    """Position in a line of each column; the header must name exactly these, in any order."""
    text = header.decode("utf-8-sig", errors="replace").rstrip("\r")
    try:
        names = next(csv.reader([text], strict=True), [])
    except csv.Error:
        names = []
    while names and not names[-1]:
        names.pop()
    if sorted(names) != sorted(columns):
        commas = "; save the file with commas between the cells" if ";" in text or "\t" in text else ""
        raise FeedbackError(
            f"{path}, line 1: the header is not {','.join(columns)}; it is not a file of judgments{commas}"
        )
    return [names.index(name) for name in columns]


def _line_by_line(
    data: bytes, columns: Sequence[str], order: Sequence[int], path: Path, first_line: int
) -> pd.DataFrame:
    rows, lines = [], []
    for number, line in enumerate(io.BytesIO(data), start=first_line):
        if number == 1:
            continue  # the header
        try:
            cells = _cells(line, len(columns))
        except FeedbackError as error:
            raise FeedbackError(f"{path}, line {number}: {error}; fix or delete the line") from error
        if cells:
            rows.append([unguarded(cells[place]) for place in order])
            lines.append(number)
    columns_of = zip(*rows, strict=True) if rows else [()] * len(columns)
    return _table({n: pd.Series(list(c), dtype=str) for n, c in zip(columns, columns_of, strict=True)}, lines)


def _cells(line: bytes, count: int) -> list[str]:
    """The cells of a line, without empty ones beyond `count`; an empty list for a blank line."""
    try:
        cells = next(csv.reader([line.decode("utf-8").rstrip("\r\n")], strict=True), [])
    except UnicodeDecodeError:
        raise FeedbackError("not UTF-8") from None
    except csv.Error as error:
        long = "field limit" in str(error)
        raise FeedbackError(f"a cell has more than {MAX_CHARACTERS} characters" if long else str(error)) from None
    if not any(cells):
        return []
    if len(cells) < count or any(cells[count:]):
        raise FeedbackError(f"{len(cells)} cells where {count} belong")
    return cells[:count]
