"""One durable, append-only CSV file: UTF-8, RFC 4180, one row a line.

A row is acknowledged only after fsync. Writers of several processes take turns behind a file lock. What a power cut
left of a last line is set aside in a file beside it. No cell can be taken for a formula by a spreadsheet, and reading
undoes exactly what writing did to prevent that. Every append is sealed by a checksum (`feedback_store.seal`).
"""

from __future__ import annotations

import csv
import io
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
from filelock import FileLock

from feedback_store.errors import FeedbackError, FeedbackWarning
from feedback_store.parse import parse_rows
from feedback_store.seal import Seal

_FORMULA = ("=", "+", "-", "@", "'")


def _guarded(cell: str) -> str:
    """A leading apostrophe makes a spreadsheet show the cell as text; reading takes it off again."""
    return "'" + cell if cell.startswith(_FORMULA) else cell


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_guarded(cell) for cell in cells])
    return text.getvalue().encode()


class CsvLog:
    """Rows of strings under fixed columns, of which the first is a unique id. Safe to share between threads.

    Args:
        path: the CSV file; made, with its header, by the first append.
        columns: names, in order.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = tuple(columns)
        self.seal = Seal(path.with_name(path.name + ".seal"))
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._thread = threading.Lock()
        self._ids: set[str] = set()
        self._seen = 0  # bytes of the file whose ids are in `_ids`

    def append(self, rows: Sequence[Sequence[str]]) -> int:
        """Store rows whose ids are not stored yet, with one fsync; returns how many were new.

        Raises:
            FeedbackError: the file is not what this log writes, or the disk refused; nothing stored has changed.
        """
        with self._thread:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            except OSError as error:
                raise self._refused(error) from error
            try:
                size = self._repair_tail()
                self._learn_ids(size)
                fresh = {row[0]: row for row in rows if row[0] not in self._ids}
                if fresh:
                    self._write(b"".join(_line(row) for row in fresh.values()), size)
                    self._ids |= fresh.keys()
            except OSError as error:
                raise self._refused(error) from error
            finally:
                self._lock.release()
        return len(fresh)

    def _refused(self, error: OSError) -> FeedbackError:
        return FeedbackError(
            f"{self.path}: the judgment was not stored ({error.strerror}); mend that and send it again"
        )

    def _warn(self, what: str) -> None:
        warnings.warn(f"{self.path}: {what}", FeedbackWarning, stacklevel=3)

    def _write(self, data: bytes, size: int) -> None:
        if not size:
            data = _line(self.columns) + data
        with self.path.open("ab", buffering=0) as file:
            try:
                self._seal_what_is_not(size)
                _write_all(file.fileno(), data)
                os.fsync(file.fileno())
                self.seal.add(data, size + len(data))
            except OSError:
                file.truncate(size)
                self.seal.end_within(size)
                raise
        if not size:
            _sync_folder(self.path.parent)
        self._seen = size + len(data)

    def _seal_what_is_not(self, size: int) -> None:
        """Rows another program added, or whose seal a power cut tore off, are sealed as they are."""
        sealed = self.seal.end_within(size)
        if sealed < size:
            with self.path.open("rb") as file:
                file.seek(sealed)
                self.seal.add(file.read(size - sealed), size)

    def accept(self) -> None:
        """Seal the file as it is now: its owner changed it on purpose."""
        try:
            with self._thread, self._lock:
                self.seal.end_within(0)
                self._seal_what_is_not(self._repair_tail())
        except OSError as error:
            raise FeedbackError(f"{self.path}: it could not be sealed anew ({error.strerror}); mend that") from error

    def _repair_tail(self) -> int:
        """Set aside what follows the last whole line, if anything; returns the file's size."""
        if not self.path.is_file():
            return 0
        with self.path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            whole = _end_of_last_line(file, size)
            if whole < size:
                file.seek(whole)
                aside = self.path.with_name(f"{self.path.name}.torn-{whole}")
                with aside.open("ab") as keep:
                    keep.write(file.read() + b"\n")
                    keep.flush()
                    os.fsync(keep.fileno())
                file.truncate(whole)
                os.fsync(file.fileno())
                self._warn(f"the last line was torn; set aside in {aside.name}")
        return whole

    def _learn_ids(self, size: int) -> None:
        """Read the ids of rows that were added since the last look, by this process or another."""
        if size < self._seen:
            self._ids, self._seen = set(), 0
        if size == self._seen:
            return
        self._ids.update(row[0] for row in self._rows(self._seen, size))
        self._seen = size

    def _rows(self, start: int, end: int) -> Iterator[list[str]]:
        """Rows between two byte offsets, unguarded; checked only as far as the header."""
        with self.path.open("rb") as file:
            if not start:
                self._check_header(file.readline())
                start = file.tell()
            file.seek(start)
            lines = file.read(end - start).decode("utf-8", errors="replace")
        for row in csv.reader(io.StringIO(lines, newline="")):
            if row:
                yield [cell.removeprefix("'") for cell in row]

    def rows_since(self, offset: int) -> tuple[list[dict[str, str]], int]:
        """Whole rows added after a byte offset (0 at first), and the offset to go on from."""
        if not self.path.is_file() or self.path.stat().st_size <= offset:
            return [], offset
        with self._lock:  # so that no row is seen that its writer may still have to take back
            with self.path.open("rb") as file:
                end = _end_of_last_line(file, file.seek(0, os.SEEK_END))
            found = list(self._rows(offset, end)) if end > offset else []
        if any(len(row) != len(self.columns) for row in found):
            self.read()  # which names the line
            raise FeedbackError(f"{self.path}: a row added since does not have {len(self.columns)} cells")
        return [dict(zip(self.columns, row, strict=True)) for row in found], max(end, offset)

    def _check_header(self, line: bytes) -> None:
        if line.decode("utf-8-sig", errors="replace").rstrip("\r\n") != ",".join(self.columns):
            raise FeedbackError(
                f"{self.path}, line 1: the header is not {','.join(self.columns)}; it is not a file of judgments"
            )

    def read(self) -> pd.DataFrame:
        """All whole rows as strings, with the columns of this log; empty if there is no file.

        Raises:
            FeedbackError: wrong header, a row with too many or too few cells, an id that stands twice, or a line that
                is not what was stored.
        """
        if not self.path.is_file():
            return pd.DataFrame({name: pd.Series(dtype=str) for name in self.columns})
        entries = self.seal.entries()  # before the rows, since rows are written before their entry
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            end = _end_of_last_line(file, size)
            file.seek(0)
            whole = memoryview(file.read(end))
        if end < size:
            self._warn("the last line is torn and left out")
        if (lost := (int(entries["end"][-1]) if len(entries) else 0) - size) > 0:
            self._warn(f"{lost} bytes that were stored are gone from its end; restore a copy if you have one")
        self._check_header(bytes(whole[:4096]).partition(b"\n")[0])
        frame = parse_rows(whole, self.columns, self.path)
        if damage := self.seal.first_damage(whole, entries):
            raise FeedbackError(self._changed(whole, *damage))
        if (repeated := frame.iloc[:, 0].duplicated()).any():
            line = int(repeated.to_numpy().argmax()) + 2
            raise FeedbackError(
                f"{self.path}, line {line}: the id {frame.iloc[line - 2, 0]!r} stands twice; delete one of the rows"
            )
        frame.index = pd.RangeIndex(2, len(frame) + 2, name="line")
        return frame

    def _changed(self, data: memoryview, start: int, end: int) -> str:
        first = bytes(data[:start]).count(b"\n") + 1
        last = max(first, bytes(data[:end]).count(b"\n"))
        lines = f"line {first}" if first == last else f"lines {first} to {last}"
        return (
            f"{self.path}, {lines}: not what was stored; put the old text back, or if the change was meant, run "
            "`image-rlhf feedback check --accept`"
        )


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _end_of_last_line(file: io.BufferedRandom | io.BufferedReader, size: int) -> int:
    """Offset just behind the last line end, looked for from the back."""
    position = size
    while position > 0:
        start = max(0, position - 65_536)
        file.seek(start)
        found = file.read(position - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        position = start
    return 0


def _sync_folder(folder: Path) -> None:
    """A new file survives a power cut only once its folder's entry is on disk, too."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
