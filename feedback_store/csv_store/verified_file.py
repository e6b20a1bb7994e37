"""The file of a log as this process last verified it, and detection of changes by other programs.

Every append verifies the file first. If only sealed rows were appended since the last check, only the new bytes are read;
after any other change (a replaced file, changed bytes, a shorter file, a new seal, rows without a seal) the complete file is
read. An invalid file changes nothing in the state that this process has.
"""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from feedback_store.csv_store.checks import check_ids
from feedback_store.csv_store.durable_write import end_of_last_line
from feedback_store.csv_store.parse import Parsed, parse_added, parse_file
from feedback_store.csv_store.seal import Seal, first_damage
from feedback_store.errors import ChangedError, FeedbackError
from feedback_store.retraction import StoredIds

Check = Callable[[pd.DataFrame, Path], None]
Row = Sequence[str]
Stamp = tuple[int, ...]  # device, inode, size, modification and change time; empty if there is no file
REMEMBERED_PLACES = 16  # recent places; for older ones the bytes before them are read again
RECHECKED_ROWS = 64  # rows before the new ones that are verified again: the file may have grown and changed
MIN_AGE_NS = 10**9  # of a change: within the clock resolution of the file system a second change may go unnoticed
RESTORE_OR_ACCEPT = "restore the old text, or if the change was intended, run `image-rlhf feedback check --accept`"


@dataclass(frozen=True)
class Place:
    """How far a reader has read a log: number of bytes, and their checksum to detect changes."""

    offset: int = 0
    crc: int = 0


@dataclass(frozen=True)
class FileState:
    """A log's files when they were last valid.

    Attributes:
        csv, seal: stamps of the two files.
        size: bytes of complete rows, with the header.
        lines: number of lines in these bytes.
        crc: CRC-32 of these bytes.
        entries: number of seal entries.
        sealed: number of bytes they cover.
    """

    csv: Stamp = ()
    seal: Stamp = ()
    size: int = 0
    lines: int = 0
    crc: int = 0
    entries: int = 0
    sealed: int = 0


def stamp(path: Path) -> Stamp:
    """Metadata that differs after every change of the file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class VerifiedFile:
    """The file of one log as this process last verified it. The methods need the log's lock.

    Args:
        check: raises FeedbackError for the first row with an invalid cell.
    """

    def __init__(self, path: Path, columns: Sequence[str], seal: Seal, check: Check | None) -> None:
        self.path, self.columns, self.seal, self._check = path, tuple(columns), seal, check
        self.state = FileState()
        self.stored = StoredIds()
        self._retracts = self.columns.index("retracts") if "retracts" in self.columns else None
        self._handed_out: deque[Place] = deque(maxlen=REMEMBERED_PLACES)  # still in the file
        self._refused: tuple[tuple[Stamp, Stamp], str] | None = None

    @property
    def place(self) -> Place:
        """The end of the verified rows."""
        return Place(self.state.size, self.state.crc)

    def hand_out(self) -> Place:
        """The end of the verified rows, remembered for `holds`."""
        self._handed_out.append(self.place)
        return self.place

    def holds(self, place: Place) -> bool:
        """Whether the bytes before a place (of this or another process) are still in the file, unchanged."""
        if place == Place() or place in self._handed_out:
            return True
        if place.offset > self.state.size:
            return False
        with self.path.open("rb") as file:
            return zlib.crc32(file.read(place.offset)) == place.crc

    def ids_of(self, rows: Iterable[Row]) -> list[tuple[str, str]]:
        """For each row its id and the id it retracts, empty for none."""
        column = self._retracts
        return [(row[0], "" if column is None else row[column]) for row in rows]

    def refresh(self) -> None:
        """Update `state` and `stored`.

        Raises:
            ChangedError: the file is missing, changed or unreadable; the last valid state is kept.
        """
        stamps = stamp(self.path), stamp(self.seal.path)
        if stamps == (self.state.csv, self.state.seal):
            return
        if self._refused and self._refused[0] == stamps:
            raise ChangedError(self._refused[1])  # the file has not changed since
        try:
            self._look(*stamps)
        except FeedbackError as error:
            last = max((0, *stamps[0][3:], *stamps[1][3:]))
            old = time.time_ns() - last > MIN_AGE_NS
            self._refused = (stamps, str(error)) if old else None
            raise ChangedError(str(error)) from error
        self._refused = None

    def _look(self, csv: Stamp, seal: Stamp) -> None:
        if not csv:
            if self.state.size or len(self.seal.entries()):
                raise ChangedError(self.gone())
            self.state = FileState(seal=seal)
            return
        added = self._sealed_growth(csv, seal)
        if added is None:
            self._learn_all(self.path.read_bytes(), csv, seal)
        else:
            self._learn_added(*added, csv, seal)

    def gone(self) -> str:
        """The message about a missing file."""
        entries = self.seal.entries()
        stored = max(self.state.size, int(entries["end"][-1]) if len(entries) else 0)
        remedy = "run `image-rlhf feedback check --accept`" if len(entries) else "start this command again"
        return (
            f"{self.path}: the file is gone, and {stored} bytes were stored in it; put it back, or if it was removed on "
            f"purpose, {remedy}"
        )

    def _sealed_growth(self, csv: Stamp, seal: Stamp) -> tuple[bytes, int] | None:
        """The new bytes and the number of seal entries, if only sealed rows were appended; otherwise None."""
        known = self.state
        same = known.csv and known.seal and seal and (csv[:2], seal[:2]) == (known.csv[:2], known.seal[:2])
        if not same or csv[2] <= known.size or known.sealed != known.size:
            return None
        first = max(0, known.entries - RECHECKED_ROWS)
        entries = self.seal.entries(since=max(0, first - 1))
        begin = 0
        if first and len(entries):
            begin, entries = int(entries["end"][0]), entries[1:]
        if not len(entries) or begin > known.size:
            return None
        with self.path.open("rb") as file:
            file.seek(begin)
            data = file.read()
        covered = int(entries["end"][-1]) == begin + end_of_last_line(data)
        if not covered or first_damage(data, entries, begin):
            return None
        return data[known.size - begin :], first + len(entries)

    def _learn_added(self, data: bytes, entries: int, csv: Stamp, seal: Stamp) -> None:
        data = data[: end_of_last_line(data)]
        parsed = parse_added(data, self.columns, self.path, self.state.lines + 1)
        self._must_be_own(parsed)
        check_ids(parsed.frame, self.path, self.stored.ids)
        if self._check:
            self._check(parsed.frame, self.path)
        self._learn_ids(self.stored, parsed.frame)
        self._note(data, entries, csv, seal)

    def _learn_all(self, data: bytes, csv: Stamp, seal: Stamp) -> None:
        entries, whole = self.seal.entries(), end_of_last_line(data)
        must_be_as_sealed(data, entries, self.path)
        stored = StoredIds()
        if whole:
            parsed = checked(data[:whole], self.columns, self.path, self._check)
            self._must_be_own(parsed)
            self._learn_ids(stored, parsed.frame)
        known = self.state
        same = whole >= known.size and zlib.crc32(memoryview(data)[: known.size]) == known.crc
        sealed = int(entries["end"][-1]) if len(entries) else 0
        if not same:
            self._handed_out.clear()
        self.stored = stored
        self.state = FileState(csv, seal, whole, data.count(b"\n"), zlib.crc32(data[:whole]), len(entries), sealed)

    def _learn_ids(self, stored: StoredIds, frame: pd.DataFrame) -> None:
        stored.learn(frame.iloc[:, 0], () if self._retracts is None else frame.iloc[:, self._retracts])

    def _must_be_own(self, parsed: Parsed) -> None:
        if not parsed.own_form:
            raise ChangedError(
                f"{self.path}: another program has saved it in another form (columns, blank lines or commas differ), so "
                "that no answer can be appended; run `image-rlhf feedback check --accept`, which rewrites it and keeps a copy"
            )

    def appended(self, data: bytes, rows: Sequence[Row], entries: int) -> None:
        """Update the state after an append of this process; `entries`: number of seal entries now."""
        ids = self.ids_of(rows)
        self.stored.learn((row for row, _ in ids), (target for _, target in ids))
        self._note(data, entries, stamp(self.path), stamp(self.seal.path))

    def _note(self, data: bytes, entries: int, csv: Stamp, seal: Stamp) -> None:
        size, lines = self.state.size + len(data), self.state.lines + data.count(b"\n")
        self.state = FileState(csv, seal, size, lines, zlib.crc32(data, self.state.crc), entries, size)


def must_be_as_sealed(data: bytes, entries: np.ndarray, path: Path) -> None:
    """Raise ChangedError for the first sealed bytes of a complete file that are missing or changed."""
    if damage := first_damage(data, entries):
        raise ChangedError(f"{path}{damage.described(data)}; {RESTORE_OR_ACCEPT}")


def checked(data: bytes, columns: Sequence[str], path: Path, check: Check | None) -> Parsed:
    """Parse and check the complete lines of a file.

    Raises:
        FeedbackError: names the file, the line and the reason.
    """
    parsed = parse_file(data, columns, path)
    check_ids(parsed.frame, path)
    if check:
        check(parsed.frame, path)
    return parsed
