"""Accept a file that its owner changed on purpose: rewrite it in the store's own form and seal it again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from feedback_store.csv_store.durable_write import end_of_last_line, keep_copy, replace_file
from feedback_store.csv_store.line import line_of
from feedback_store.csv_store.seal import Seal
from feedback_store.csv_store.verified_file import Check, checked
from feedback_store.errors import FeedbackError


def accept_file(path: Path, seal: Seal, columns: Sequence[str], check: Check | None) -> Path | None:
    """Seal a file as it is, after rewriting it if another program saved it in another form. Needs the log's lock.

    A missing file becomes one without rows, so that a running collection knows that its removal was intended.

    Returns:
        the copy of the previous file, if it was rewritten.

    Raises:
        FeedbackError: the file cannot be read; nothing was changed.
        OSError: writing failed; the file is as before.
    """
    data = path.read_bytes() if path.is_file() else b""
    rows = _rows_of(data, path, columns, check).itertuples(index=False) if data else ()
    rewritten = b"".join([line_of(columns), *(line_of(map(str, row)) for row in rows)])
    copy = None
    if rewritten != data:
        copy = keep_copy(path, data, "before-accept") if data else None
        replace_file(path, rewritten)
    seal.renew(rewritten)
    return copy


def _rows_of(data: bytes, path: Path, columns: Sequence[str], check: Check | None) -> pd.DataFrame:
    """Every row, including a complete last row without a line end (some editors omit it), but not a torn one."""
    end = end_of_last_line(data)
    if end < len(data):
        try:
            return checked(data + b"\n", columns, path, check).frame
        except FeedbackError:
            data = data[:end]
    return checked(data, columns, path, check).frame
