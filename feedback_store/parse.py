"""Rows of a log as a table of strings, or the first line that is none."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from feedback_store.errors import FeedbackError


def parse_rows(data: memoryview, columns: Sequence[str], path: Path) -> pd.DataFrame:
    """The rows below a header line, every cell a string, leading apostrophes taken off.

    Raises:
        FeedbackError: names the file, the line and the reason.
    """
    names = list(columns)
    body = pa.py_buffer(data).slice(bytes(data[:65_536]).find(b"\n") + 1)
    if not body.size:
        return pd.DataFrame({name: pd.Series(dtype=str) for name in names})
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(body),
            read_options=arrow_csv.ReadOptions(column_names=names),
            parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise FeedbackError(_first_bad_line(data, len(names), path)) from error
    return pd.DataFrame({name: _unguarded(table[name]) for name in names})


def _unguarded(column: pa.ChunkedArray) -> pd.Series:
    if pc.any(pc.starts_with(column, "'")).as_py():
        column = pc.replace_substring_regex(column, "^'", "")
    return pd.Series(column.to_pandas(), dtype=str)


def _first_bad_line(data: memoryview, cells: int, path: Path) -> str:
    for number, line in enumerate(bytes(data).split(b"\n")[:-1], start=1):
        try:
            found = len(next(csv.reader([line.decode("utf-8").rstrip("\r")], strict=True), []))
        except UnicodeDecodeError:
            return f"{path}, line {number}: not UTF-8; mend or delete the line"
        except csv.Error as error:
            return f"{path}, line {number}: {error}; mend or delete the line"
        if found != cells:
            return f"{path}, line {number}: {found} cells where {cells} belong; mend or delete the line"
    return f"{path}: cannot be read as CSV"
