"""What a process knows of a log's file, and how it notices that the file is no longer what it was.

Every append looks first. Where nothing but a sealed append came since the last look, the new bytes alone are verified
and parsed; after anything else (another file under the name, the same size with other contents, a shorter file, a
seal made anew, rows without a seal) the whole file is. Nothing is learned from a file that `read` would refuse.
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
Stamp = tuple[int, ...]  # device, inode, size, times of last change; empty if there is no file
PLACES = 16  # places of followers that are remembered; of others the bytes before are read again
RECHECKED = 64  # rows before the new ones that are verified again, in case a file grew and changed at once
SETTLED_NS = 10**9  # a file that changed a moment ago may change again at what its file system calls the same time
WAY_OUT = "restore the old text, or if the change was meant, run `image-rlhf feedback check --accept`"


@dataclass(frozen=True)
class Place:
    """How far somebody has read a log: so many bytes, and their checksum, which tells whether they are still there."""

    offset: int = 0
    crc: int = 0


@dataclass(frozen=True)
class Verified:
    """A file when it was last found good.

    Attributes:
        csv, seal: stamps of the two files then.
        size: bytes of whole rows, with the header.
        lines: their number.
        crc: of these bytes.
        entries: number of seal entries.
        sealed: bytes they cover.
    """

    csv: Stamp = ()
    seal: Stamp = ()
    size: int = 0
    lines: int = 0
    crc: int = 0
    entries: int = 0
    sealed: int = 0


def stamp(path: Path) -> Stamp:
    """Changes whenever the file does."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class View:
    """The file of one log, as this process last saw it. Its methods need the log's lock.

    Args:
        check: raises FeedbackError for the first row whose cells are not what they must be.
    """

    def __init__(self, path: Path, columns: Sequence[str], seal: Seal, check: Check | None) -> None:
        self.path, self.columns, self.seal, self._check = path, tuple(columns), seal, check
        self.now = Verified()
        self.stored = StoredIds()
        self._retracts = self.columns.index("retracts") if "retracts" in self.columns else None
        self._handed_out: deque[Place] = deque(maxlen=PLACES)  # what was read up to these is still in the file
        self._refused: tuple[tuple[Stamp, Stamp], str] | None = None

    @property
    def place(self) -> Place:
        """The end of what is known."""
        return Place(self.now.size, self.now.crc)

    def hand_out(self) -> Place:
        """The end of what is known, remembered for `holds`."""
        self._handed_out.append(self.place)
        return self.place

    def holds(self, place: Place) -> bool:
        """Whether the bytes up to a place are still in the file as they were then; from another process's place, too."""
        if place == Place() or place in self._handed_out:
            return True
        if place.offset > self.now.size:
            return False
        with self.path.open("rb") as file:
            return zlib.crc32(file.read(place.offset)) == place.crc

    def ids_of(self, rows: Iterable[Row]) -> list[tuple[str, str]]:
        """For each row its id and the id it takes back, empty where it takes back none."""
        column = self._retracts
        return [(row[0], "" if column is None else row[column]) for row in rows]

    def refresh(self) -> None:
        """Bring `now` and `stored` up to date.

        Raises:
            ChangedError: the file is gone, changed or unreadable; the last good state is kept.
        """
        stamps = stamp(self.path), stamp(self.seal.path)
        if stamps == (self.now.csv, self.now.seal):
            return
        if self._refused and self._refused[0] == stamps:
            raise ChangedError(self._refused[1])  # nothing has happened to the file since
        try:
            self._look(*stamps)
        except FeedbackError as error:
            last = max((0, *stamps[0][3:], *stamps[1][3:]))
            old = time.time_ns() - last > SETTLED_NS
            self._refused = (stamps, str(error)) if old else None
            raise ChangedError(str(error)) from error
        self._refused = None

    def _look(self, csv: Stamp, seal: Stamp) -> None:
        if not csv:
            if self.now.size or len(self.seal.entries()):
                raise ChangedError(self.gone())
            self.now = Verified(seal=seal)
            return
        added = self._sealed_growth(csv, seal)
        if added is None:
            self._learn_all(self.path.read_bytes(), csv, seal)
        else:
            self._learn_added(*added, csv, seal)

    def gone(self) -> str:
        """What is said of a file that is not there."""
        entries = self.seal.entries()
        stored = max(self.now.size, int(entries["end"][-1]) if len(entries) else 0)
        anew = "run `image-rlhf feedback check --accept`" if len(entries) else "start this command again"
        return (
            f"{self.path}: the file is gone, and {stored} bytes were stored in it; put it back, or if it was removed on "
            f"purpose, {anew}"
        )

    def _sealed_growth(self, csv: Stamp, seal: Stamp) -> tuple[bytes, int] | None:
        """The rows below those known and the number of seal entries, if a sealed append is all that happened."""
        known = self.now
        same = known.csv and known.seal and seal and (csv[:2], seal[:2]) == (known.csv[:2], known.seal[:2])
        if not same or csv[2] <= known.size or known.sealed != known.size:
            return None
        first = max(0, known.entries - RECHECKED)
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
        parsed = parse_added(data, self.columns, self.path, self.now.lines + 1)
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
        known = self.now
        same = whole >= known.size and zlib.crc32(memoryview(data)[: known.size]) == known.crc
        sealed = int(entries["end"][-1]) if len(entries) else 0
        if not same:
            self._handed_out.clear()
        self.stored = stored
        self.now = Verified(csv, seal, whole, data.count(b"\n"), zlib.crc32(data[:whole]), len(entries), sealed)

    def _learn_ids(self, stored: StoredIds, frame: pd.DataFrame) -> None:
        stored.learn(frame.iloc[:, 0], () if self._retracts is None else frame.iloc[:, self._retracts])

    def _must_be_own(self, parsed: Parsed) -> None:
        if not parsed.own_form:
            raise ChangedError(
                f"{self.path}: another program has saved it in another form (columns, blank lines or commas differ), so "
                "that no answer can be appended; run `image-rlhf feedback check --accept`, which rewrites it and keeps a copy"
            )

    def appended(self, data: bytes, rows: Sequence[Row], entries: int) -> None:
        """What this process has just appended below all that is known, and how many entries the seal has now."""
        ids = self.ids_of(rows)
        self.stored.learn((row for row, _ in ids), (target for _, target in ids))
        self._note(data, entries, stamp(self.path), stamp(self.seal.path))

    def _note(self, data: bytes, entries: int, csv: Stamp, seal: Stamp) -> None:
        size, lines = self.now.size + len(data), self.now.lines + data.count(b"\n")
        self.now = Verified(csv, seal, size, lines, zlib.crc32(data, self.now.crc), entries, size)


def must_be_as_sealed(data: bytes, entries: np.ndarray, path: Path) -> None:
    """Raise ChangedError for the first sealed bytes of a whole file that are gone or different."""
    if damage := first_damage(data, entries):
        raise ChangedError(f"{path}{damage.described(data)}; {WAY_OUT}")


def checked(data: bytes, columns: Sequence[str], path: Path, check: Check | None) -> Parsed:
    """The rows of a file's whole lines, with every cell as it must be.

    Raises:
        FeedbackError: names the file, the line and the reason.
    """
    parsed = parse_file(data, columns, path)
    check_ids(parsed.frame, path)
    if check:
        check(parsed.frame, path)
    return parsed
