"""Taking a file that was changed on purpose for what was stored: rewritten in the store's own form, and sealed anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from feedback_store.csv_store.durable_write import end_of_last_line, keep_copy, replace_file
from feedback_store.csv_store.line import line_of
from feedback_store.csv_store.seal import Seal
from feedback_store.csv_store.view import Check, checked
from feedback_store.errors import FeedbackError


def accept_file(path: Path, seal: Seal, columns: Sequence[str], check: Check | None) -> Path | None:
    """Seal a file as it is, after rewriting it if another program saved it in another form. Needs the log's lock.

    A file that is gone becomes one without rows, so that a collection under way knows that this was meant.

    Returns:
        the copy of the file before, if it was rewritten.

    Raises:
        FeedbackError: the file cannot be read; nothing was changed.
        OSError: the disk refused; the file is as before.
    """
    data = path.read_bytes() if path.is_file() else b""
    rows = _rows_of(data, path, columns, check).itertuples(index=False) if data else ()
    own = b"".join([line_of(columns), *(line_of(map(str, row)) for row in rows)])
    copy = None
    if own != data:
        copy = keep_copy(path, data, "before-accept") if data else None
        replace_file(path, own)
    seal.renew(own)
    return copy


def _rows_of(data: bytes, path: Path, columns: Sequence[str], check: Check | None) -> pd.DataFrame:
    """Every row; the last one, too, where an editor left its line end out, but not a piece of one."""
    whole = end_of_last_line(data)
    if whole < len(data):
        try:
            return checked(data + b"\n", columns, path, check).frame
        except FeedbackError:
            data = data[:whole]
    return checked(data, columns, path, check).frame
