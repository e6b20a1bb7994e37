"""One row of a log as one line of bytes: RFC 4180, and no cell that a spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

FORMULA = ("=", "+", "-", "@")  # a cell that begins so is a formula to spreadsheets


def guarded(cell: str) -> str:
    """A leading apostrophe makes a spreadsheet show the cell as text; `unguarded` removes it, so a cell's own is doubled."""
    return "'" + cell if cell.startswith((*FORMULA, "'")) else cell


def unguarded(cell: str) -> str:
    """What was written as `guarded`."""
    return cell.removeprefix("'")


def line_of(cells: Iterable[str]) -> bytes:
    """A row's line, with its line end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([guarded(cell) for cell in cells])
    return text.getvalue().encode()
