"""One durable, append-only CSV file: UTF-8, RFC 4180, one row per line.

A row is acknowledged only after fsync. A file lock keeps the writers of several processes apart. A torn last line, which
a power cut left, is set aside in a file next to it. Every row has a checksum (`feedback_store.csv_store.seal`), and nothing
is appended to a file that another program changed (`feedback_store.csv_store.verified_file`).
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from feedback_store.csv_store.accept import accept_file
from feedback_store.csv_store.copied_file import CopiedFile
from feedback_store.csv_store.durable_write import set_tail_aside, sync_folder
from feedback_store.csv_store.durable_write import write_all as _write_all
from feedback_store.csv_store.line import line_of
from feedback_store.csv_store.parse import parse_added
from feedback_store.csv_store.read import AddedRows, TornError, read_rows
from feedback_store.csv_store.seal import Seal
from feedback_store.csv_store.verified_file import Check, Place, Row, VerifiedFile, stamp
from feedback_store.errors import ChangedError, FeedbackError, FeedbackWarning

READ_LOCK_TIMEOUT = 10.0  # seconds to wait for a writer before an error is reported


class CsvLog:
    """Rows of strings under fixed columns, of which the first is a unique id. Safe to share between threads.

    Args:
        path: the CSV file; the first append creates it with its header.
        columns: names, in order; a column `retracts` holds the id of the retracted row, or is empty.
        check: raises FeedbackError for the first row with an invalid cell.
    """

    def __init__(self, path: Path, columns: Sequence[str], check: Check | None = None) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.seal = Seal(path.with_name(path.name + ".seal"))
        self._check = check
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._thread = threading.Lock()
        self._file = VerifiedFile(path, columns, self.seal, check)

    @property
    def was_stored(self) -> bool:
        """Whether there are rows, or a seal of rows that are missing."""
        return self.path.is_file() or len(self.seal.entries()) > 0

    @property
    def place(self) -> Place:
        """The end of what this process knows."""
        return self._file.place

    def _must_be_there(self) -> None:
        if len(self.seal.entries()) and not self.path.is_file():  # in this order: rows are written before their entry
            raise ChangedError(self._file.gone())

    def has_rows(self) -> bool:
        """Whether there is a row; raises ChangedError if rows were stored and the file is missing."""
        self._must_be_there()
        if not self.path.is_file():
            return False
        with self.path.open("rb") as file:
            return bool(file.readline() and file.read(1))

    def append(self, rows: Sequence[Row]) -> int:
        """As `write`; returns how many rows were new."""
        return self.write(rows)[0]

    def write(self, rows: Sequence[Row]) -> tuple[int, Place, Place]:
        """Store rows whose ids are not stored yet, with one fsync.

        A row that retracts an already retracted row is not stored.

        Returns:
            how many were new, and the places before and behind them.

        Raises:
            ChangedError: the file is missing, changed or unreadable.
            FeedbackError: a row retracts one that does not exist, or writing failed. Nothing stored has changed.
        """
        with self._thread:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            except OSError as error:
                raise self._not_stored(error) from error
            try:
                self._file.refresh()
                before = self._file.place
                fresh = [rows[number] for number in self._file.stored.new_rows(self._file.ids_of(rows))]
                if fresh:
                    self._write(fresh)
                return len(fresh), before, self._file.hand_out()
            except OSError as error:
                raise self._not_stored(error) from error
            finally:
                self._lock.release()

    def _not_stored(self, error: OSError) -> FeedbackError:
        return FeedbackError(f"{self.path}: the judgment was not stored ({error.strerror}); fix that and send it again")

    def look(self) -> None:
        """Read and verify what was stored since the last call.

        Raises:
            ChangedError: the file is missing, changed or unreadable, so that nothing can be appended to it.
        """
        with self._thread:
            self._look()

    def _look(self) -> None:
        now = self._file.state
        try:
            if (stamp(self.path), stamp(self.seal.path)) != (now.csv, now.seal):
                with self._lock:  # a writer that fails removes its rows again
                    self._file.refresh()
        except OSError as error:
            raise ChangedError(f"{self.path}: cannot be read ({error.strerror}); fix that") from error

    def _write(self, rows: Sequence[Row]) -> None:
        known = self._file.state
        data = b"".join(line_of(row) for row in rows)
        if not known.size:
            data = line_of(self.columns) + data
        with self.path.open("a+b", buffering=0) as file:
            self._must_be_named(file.fileno(), known.csv[2] if known.csv else 0)
            if tail := self._bytes(known.size):
                aside = set_tail_aside(self.path, file, known.size, tail)
                message = f"{self.path}: the last line was torn; set aside in {aside.name}"
                warnings.warn(message, FeedbackWarning, stacklevel=3)
            entries = known.entries
            if known.sealed < known.size:  # rows that another program added, or whose seal a power cut tore off
                entries += self.seal.add(self._bytes(known.sealed, known.size), known.sealed, entries)
            try:
                _write_all(file.fileno(), data)
                os.fsync(file.fileno())
                self._must_be_named(file.fileno(), known.size + len(data))
                entries += self.seal.add(data, known.size, entries)
            except OSError:
                file.truncate(known.size)
                raise
        if not known.size:
            sync_folder(self.path.parent)
        self._file.appended(data, rows, entries)

    def _must_be_named(self, handle: int, size: int) -> None:
        """Raise ChangedError unless the open file still has the log's name and this size: rows in a moved file are lost."""
        written, named = os.fstat(handle), stamp(self.path)
        if (written.st_dev, written.st_ino, written.st_size) != (*named[:2], size):
            raise ChangedError(
                f"{self.path}: another program changed or moved the file while an answer was written; put it back and send "
                "the answer again"
            )

    def _bytes(self, start: int, end: int | None = None) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read() if end is None else file.read(end - start)

    def rows_since(self, place: Place) -> AddedRows:
        """Complete rows below a place; all rows, if rows above it are no longer in the file.

        Raises:
            ChangedError: the file is missing, changed or unreadable.
        """
        with self._thread:
            self._look()
            if place == self._file.place:
                return AddedRows([], place)
            try:
                with self._lock:  # keeps writers of this project out, but no other program
                    self._look()
                    reset = not self._file.holds(place)
                    reached, offset = self._file.hand_out(), 0 if reset else place.offset
                    data, same = self._bytes(offset, reached.offset), stamp(self.path) == self._file.state.csv
            except OSError as error:
                raise ChangedError(f"{self.path}: cannot be read ({error.strerror}); fix that") from error
        if not same:
            raise ChangedError(f"{self.path}: another program changed it while it was read; try again")
        frame = parse_added(data if offset else data[data.find(b"\n") + 1 :], self.columns, self.path, 2).frame
        cells = (frame[name].tolist() for name in self.columns)
        rows = [dict(zip(self.columns, row, strict=True)) for row in zip(*cells, strict=True)]
        return AddedRows(rows, reached, reset)

    def read(self) -> pd.DataFrame:
        """All complete rows as strings, with the columns of this log; empty if nothing was stored.

        Raises:
            ChangedError: the file is missing, or stored bytes were changed.
            FeedbackError: wrong header, a wrong number of cells, an invalid cell, or a repeated id.
        """
        try:
            return self._read(final=False)
        except (FeedbackError, TornError):
            pass
        try:  # a writer may have been active: read again under its lock
            with self._lock.acquire(timeout=READ_LOCK_TIMEOUT):
                return self._read(final=True)
        except (Timeout, OSError):  # a read-only folder
            return self._read(final=True)

    def _read(self, *, final: bool) -> pd.DataFrame:
        self._must_be_there()
        return read_rows(self.path, self.columns, self.seal, self._check, final=final)

    def unsealed(self) -> int:
        """Number of rows without a checksum: added by another program, or from a version or copy without a seal."""
        entries = self.seal.entries()
        sealed = int(entries["end"][-1]) if len(entries) else 0
        rows = self.path.read_bytes()[sealed:].count(b"\n") if self.path.is_file() else 0
        return rows - 1 if rows and not sealed else rows  # without the header

    def accept(self) -> Path | None:
        """Accept the file as it is now: its owner changed it on purpose.

        Returns:
            the copy of the previous file, if it had to be rewritten (see `feedback_store.csv_store.accept`).

        Raises:
            FeedbackError: the file cannot be read; nothing was changed.
        """
        try:
            with self._thread, self._lock:
                return accept_file(self.path, self.seal, self.columns, self._check)
        except OSError as error:
            raise FeedbackError(f"{self.path}: it could not be sealed again ({error.strerror}); fix that") from error

    @contextmanager
    def copying(self, frames: Iterable[pd.DataFrame]) -> Iterator[CopiedFile]:
        """A file with the rows of another store, which `put` puts in place of this one; raises FeedbackError as `write`."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._thread, self._lock:
                self._file.refresh()
                copied = CopiedFile(self.path, self.seal, self.columns, frames)
                try:
                    yield copied
                finally:
                    copied.discard()
        except OSError as error:
            raise self._not_stored(error) from error
