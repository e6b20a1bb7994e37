"""Write a file of the CSV store from the rows of another store, in pieces, and put it into place when it is complete."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from feedback_store.copied_rows import CopiedRows
from feedback_store.csv_store.durable_write import end_of_last_line, sync_folder
from feedback_store.csv_store.line import line_of, lines_of
from feedback_store.csv_store.parse import parse_file
from feedback_store.csv_store.seal import Seal


def copy_rows(path: Path, seal: Seal, columns: Sequence[str], frames: Iterable[pd.DataFrame]) -> int:
    """Extend a file by the rows that it lacks, and seal them; returns their number. Needs the log's lock.

    The present rows have to be the first of `frames`. The file is replaced by a complete one at the end, so that a copy that
    was interrupted has changed nothing. The seal is that of rows that were appended, so a copy of a copy is the same bytes.

    Raises:
        FeedbackError: the file has other rows.
        OSError: writing failed; the file is as before.
    """
    present = path.read_bytes() if path.is_file() else b""
    present = present[: end_of_last_line(present)]  # a torn line was never acknowledged
    rows = CopiedRows(columns, [parse_file(present, columns, path).frame] if present else [], str(path))
    temporary = path.with_name(f"{path.name}.copy-{os.getpid()}")
    copied_seal = Seal(temporary.with_name(f"{temporary.name}.seal"))
    count = size = entries = 0
    try:
        with temporary.open("wb") as file:
            for frame in chain([None], rows.new(frames)):
                data = (present or line_of(columns)) if frame is None else lines_of(frame, columns)
                file.write(data)
                entries += copied_seal.add(data, size, entries)
                size += len(data)
                count += 0 if frame is None else len(frame)
            file.flush()
            os.fsync(file.fileno())
        if count:
            temporary.replace(path)
            copied_seal.path.replace(seal.path)
            sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        copied_seal.path.unlink(missing_ok=True)
    return count
