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


class CopiedFile:
    """A file beside the log: the rows of the log, which have to be the first of `frames`, and those that it lacks, sealed.

    The seal is that of rows that were appended, so that a copy of a copy is the same bytes. The caller has the log's lock.

    Attributes:
        count: rows that the log lacks.

    Raises:
        FeedbackError: the log has other rows.
        OSError: writing failed.
    """

    def __init__(self, path: Path, seal: Seal, columns: Sequence[str], frames: Iterable[pd.DataFrame]) -> None:
        self.path, self.seal, self.count = path, seal, 0
        self._file = path.with_name(f"{path.name}.copy-{os.getpid()}")
        self._seal = Seal(self._file.with_name(f"{self._file.name}.seal"))
        try:
            self._write(columns, frames)
        except BaseException:
            self.discard()
            raise

    def _write(self, columns: Sequence[str], frames: Iterable[pd.DataFrame]) -> None:
        present = self.path.read_bytes() if self.path.is_file() else b""
        present = present[: end_of_last_line(present)]  # a torn line was never acknowledged
        rows = CopiedRows(columns, [parse_file(present, columns, self.path).frame] if present else [], str(self.path))
        size = entries = 0
        with self._file.open("wb") as file:
            for frame in chain([None], rows.new(frames)):
                data = (present or line_of(columns)) if frame is None else lines_of(frame, columns)
                file.write(data)
                entries += self._seal.add(data, size, entries)
                size += len(data)
                self.count += 0 if frame is None else len(frame)
            file.flush()
            os.fsync(file.fileno())

    def put(self) -> int:
        """Replace the log if it lacks rows; returns their number."""
        if self.count:
            self._file.replace(self.path)
            self._seal.path.replace(self.seal.path)
            sync_folder(self.path.parent)
        return self.count

    def discard(self) -> None:
        """Delete what was not put into place."""
        self._file.unlink(missing_ok=True)
        self._seal.path.unlink(missing_ok=True)
