"""All rows of a log's file as a table, verified against its seal."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from feedback_store.csv_store.durable_write import end_of_last_line
from feedback_store.csv_store.seal import Seal
from feedback_store.csv_store.view import Check, checked, must_be_as_sealed
from feedback_store.errors import ChangedError, FeedbackWarning


class TornError(Exception):
    """The last line is not whole: a power cut left it, or it is being written."""


def read_rows(path: Path, columns: Sequence[str], seal: Seal, check: Check | None, *, final: bool) -> pd.DataFrame:
    """Every whole row; none if there is no file.

    Args:
        final: a torn last line is left out with a warning.

    Raises:
        TornError: the last line is torn, and this is not final.
        ChangedError: bytes of the file are not what was stored.
        FeedbackError: wrong header, a row with too many or too few cells or a bad one, an id that stands twice.
    """
    entries = seal.entries()  # before the rows, since rows are written before their entry
    empty = pd.DataFrame({name: pd.Series(dtype=str) for name in columns})
    if not path.is_file():
        if len(entries):
            raise ChangedError(f"{path}: the file is gone")
        return empty
    data = path.read_bytes()
    whole = end_of_last_line(data)
    must_be_as_sealed(data, entries, path)
    if whole < len(data) and not final:
        raise TornError
    frame = checked(data[:whole], columns, path, check).frame if whole else empty
    if whole < len(data):
        warnings.warn(f"{path}: the last line is torn and left out", FeedbackWarning, stacklevel=4)
    return frame
