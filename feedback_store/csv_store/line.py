"""One row of a log as one line of bytes (RFC 4180), with cells guarded against formulas of spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

FORMULA_STARTS = ("=", "+", "-", "@")  # spreadsheets read such a cell as a formula


def guarded(cell: str) -> str:
    """The cell with a leading apostrophe if a spreadsheet would read a formula, or if it starts with an apostrophe."""
    return "'" + cell if cell.startswith((*FORMULA_STARTS, "'")) else cell


def unguarded(cell: str) -> str:
    """The cell without the apostrophe that `guarded` added."""
    return cell.removeprefix("'")


def line_of(cells: Iterable[str]) -> bytes:
    """A row's line, with its line end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([guarded(cell) for cell in cells])
    return text.getvalue().encode()


def lines_of(frame: pd.DataFrame, columns: Sequence[str]) -> bytes:
    """The lines of many rows, as `line_of` makes each."""
    text = io.StringIO()
    guards = (*FORMULA_STARTS, "'")
    cells = (["'" + cell if cell.startswith(guards) else cell for cell in frame[name].tolist()] for name in columns)
    csv.writer(text, lineterminator="\r\n").writerows(zip(*cells, strict=True))
    return text.getvalue().encode()
