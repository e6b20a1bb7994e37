"""Read all rows of a log's file as a table, verified against its seal."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from feedback_store.csv_store.durable_write import end_of_last_line
from feedback_store.csv_store.seal import Seal
from feedback_store.csv_store.verified_file import Check, Place, checked, must_be_as_sealed
from feedback_store.errors import ChangedError, FeedbackWarning


class AddedRows(NamedTuple):
    """Complete rows behind a place, and the place behind the last of them.

    `reset`: rows that were read before are no longer in the file, and `rows` are all rows.
    """

    rows: list[dict[str, str]]
    place: Place
    reset: bool = False


class TornError(Exception):
    """The last line is incomplete: after a power cut, or because it is being written."""


def read_rows(path: Path, columns: Sequence[str], seal: Seal, check: Check | None, *, final: bool) -> pd.DataFrame:
    """Every complete row; an empty table if there is no file.

    Args:
        final: leave a torn last line out with a warning, instead of raising TornError.

    Raises:
        TornError: the last line is torn, unless `final`.
        ChangedError: stored bytes were changed.
        FeedbackError: wrong header, a wrong number of cells, an invalid cell, or a repeated id.
    """
    entries = seal.entries()  # before the rows, since rows are written before their entry
    empty = pd.DataFrame({name: pd.Series(dtype=str) for name in columns})
    if not path.is_file():
        if len(entries):
            raise ChangedError(f"{path}: the file is gone")
        return empty
    data = path.read_bytes()
    end = end_of_last_line(data)
    must_be_as_sealed(data, entries, path)
    if end < len(data) and not final:
        raise TornError
    frame = checked(data[:end], columns, path, check).frame if end else empty
    if end < len(data):
        warnings.warn(f"{path}: the last line is torn and left out", FeedbackWarning, stacklevel=4)
    return frame
