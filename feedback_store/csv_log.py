"""One durable, append-only CSV file: UTF-8, RFC 4180, one row a line.

A row is acknowledged only after fsync. Writers of several processes take turns behind a file lock. What a power cut
left of a last line is set aside in a file beside it. No cell can be taken for a formula by a spreadsheet, and reading
undoes exactly what writing did to prevent that.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from filelock import FileLock

from feedback_store.errors import FeedbackError

END = b"\r\n"
_FORMULA = ("=", "+", "-", "@", "'")


def _guarded(cell: str) -> str:
    """A leading apostrophe makes a spreadsheet show the cell as text; `_unguarded` takes it off again."""
    return "'" + cell if cell.startswith(_FORMULA) else cell


def _unguarded(cells: pd.Series) -> pd.Series:
    guarded = cells.str.startswith("'")
    return cells.mask(guarded, cells.str[1:]) if guarded.any() else cells


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_guarded(cell) for cell in cells])
    return text.getvalue().encode()


class CsvLog:
    """Rows of strings under fixed columns, of which the first is a unique id.

    Args:
        path: the CSV file; made, with its header, by the first append.
        columns: names, in order.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = tuple(columns)
        self._lock = FileLock(path.with_name(path.name + ".lock"))
        self._ids: set[str] = set()
        self._seen = 0  # bytes of the file whose ids are in `_ids`

    def append(self, rows: Sequence[Sequence[str]]) -> int:
        """Store rows whose ids are not stored yet, with one fsync; returns how many were new.

        Raises:
            FeedbackError: the file is not what this log writes, or the disk refused; nothing stored has changed.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            size = self._repair_tail()
            self._learn_ids(size)
            fresh = {row[0]: row for row in rows if row[0] not in self._ids}
            if fresh:
                self._write(b"".join(_line(row) for row in fresh.values()), size)
                self._ids |= fresh.keys()
        return len(fresh)

    def _write(self, data: bytes, size: int) -> None:
        if not size:
            data = _line(self.columns) + data
        try:
            with self.path.open("ab", buffering=0) as file:
                try:
                    _write_all(file.fileno(), data)
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as error:
            raise FeedbackError(
                f"{self.path}: the judgment was not stored ({error.strerror}); free space and send it again"
            ) from error
        if not size:
            _sync_folder(self.path.parent)
        self._seen = size + len(data)

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
        return whole

    def _learn_ids(self, size: int) -> None:
        """Read the ids of rows that were added since the last look, by this process or another."""
        if size < self._seen:
            self._ids, self._seen = set(), 0
        if size == self._seen:
            return
        with self.path.open("rb") as file:
            if not self._seen:
                self._check_header(file.readline())
                self._seen = file.tell()
            file.seek(self._seen)
            lines = file.read(size - self._seen).decode("utf-8", errors="replace")
        self._ids.update(row[0].removeprefix("'") for row in csv.reader(io.StringIO(lines, newline="")) if row)
        self._seen = size

    def _check_header(self, line: bytes) -> None:
        if line.decode("utf-8-sig", errors="replace").strip() != ",".join(self.columns):
            raise FeedbackError(
                f"{self.path}, line 1: the header is not {','.join(self.columns)}; it is not a file of judgments"
            )

    def read(self) -> pd.DataFrame:
        """All whole rows as strings, with the columns of this log; empty if there is no file.

        Raises:
            FeedbackError: wrong header, a row with too many or too few cells, or an id that stands twice.
        """
        if not self.path.is_file():
            return pd.DataFrame({name: pd.Series(dtype=str) for name in self.columns})
        data = self.path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        self._check_header(data.partition(b"\n")[0])
        frame = self._parse(data)
        if (repeated := frame.iloc[:, 0].duplicated()).any():
            line = int(repeated.argmax()) + 2
            raise FeedbackError(
                f"{self.path}, line {line}: the id {frame.iloc[line - 2, 0]!r} stands twice; delete one of the rows"
            )
        return frame.apply(_unguarded)

    def _parse(self, data: bytes) -> pd.DataFrame:
        try:
            frame = pd.read_csv(
                io.BytesIO(data), dtype=str, keep_default_na=False, encoding="utf-8", header=None, skiprows=1
            )
        except pd.errors.EmptyDataError:
            frame = pd.DataFrame(columns=range(len(self.columns)), dtype=str)
        except (pd.errors.ParserError, UnicodeDecodeError) as error:
            raise FeedbackError(self._first_bad_line(data)) from error
        if frame.shape[1] != len(self.columns):
            raise FeedbackError(self._first_bad_line(data))
        frame.columns = list(self.columns)
        if (short := frame.isna().any(axis=1)).any():
            raise FeedbackError(
                f"{self.path}, line {int(short.argmax()) + 2}: fewer than {len(self.columns)} cells; mend or delete the line"
            )
        return frame

    def _first_bad_line(self, data: bytes) -> str:
        for number, line in enumerate(data.split(b"\n")[:-1], start=1):
            try:
                cells = len(next(csv.reader([line.decode("utf-8").rstrip("\r")]), []))
            except UnicodeDecodeError:
                return f"{self.path}, line {number}: not UTF-8; mend or delete the line"
            if cells != len(self.columns):
                return f"{self.path}, line {number}: {cells} cells where {len(self.columns)} belong; mend or delete the line"
        return f"{self.path}: cannot be read as CSV"


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _end_of_last_line(file: io.BufferedRandom, size: int) -> int:
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
