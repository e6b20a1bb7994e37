"""Checksums of all rows, in a file next to the log: they locate stored bytes that are missing or changed.

An entry is written after its row is on disk and before the row is acknowledged. If a power cut removes an entry, its row
stays readable without a checksum. Seals of earlier versions have one entry per append, which may cover several rows.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feedback_store.csv_store.durable_write import replace_file, write_all

ENTRY = np.dtype([("end", "<u8"), ("crc", "<u4")])  # bytes up to `end`, from the end of the entry before


@dataclass(frozen=True)
class Damage:
    """Sealed bytes that were changed: from offset `start` to `end`. `missing` bytes are gone from the file's end."""

    start: int
    end: int
    missing: int

    def described(self, data: bytes, first_line: int = 1) -> str:
        """The location for messages, as `, lines 4 to 6: ...`; `data` starts with line `first_line` and ends with the file."""
        first = data.count(b"\n", 0, self.start) + first_line
        if self.missing and data.find(b"\n", self.start) < 0:  # cut off in this line, or before it
            where = f"after line {first - 1}" if first > 1 else "from line 1 on"
            return f": {self.missing} bytes that were stored are gone from its end, {where}"
        last = max(first, data.count(b"\n", 0, self.end) + first_line - 1)
        lines = f", line {first}" if first == last else f", lines {first} to {last}"
        fewer = f", and {self.missing} bytes fewer than were stored" if self.missing else ""
        return f"{lines}: not what was stored{fewer}"


@dataclass(frozen=True)
class Seal:
    """Entries of 12 bytes in a file next to the log."""

    path: Path

    def entries(self, since: int = 0) -> np.ndarray:
        """Complete entries in order, without the first `since`; empty if there is no seal."""
        if not self.path.is_file():
            return np.empty(0, ENTRY)
        with self.path.open("rb") as file:
            file.seek(since * ENTRY.itemsize)
            data = file.read()
        entries = np.frombuffer(data[: len(data) // ENTRY.itemsize * ENTRY.itemsize], ENTRY)
        written = np.flatnonzero(entries["end"])  # a power cut may leave zeros at the end
        return entries[: written[-1] + 1] if len(written) else entries[:0]

    def add(self, data: bytes, start: int, after: int) -> int:
        """Seal complete rows from byte `start` of the log, behind `after` entries; returns the number of new entries.

        Raises:
            OSError: writing failed; the seal is as before.
        """
        entries = _entries_of(data, start)
        with self.path.open("ab") as file:
            file.truncate(after * ENTRY.itemsize)
        with self.path.open("ab", buffering=0) as file:
            try:
                write_all(file.fileno(), entries.tobytes())
            except OSError:
                file.truncate(after * ENTRY.itemsize)
                raise
        return len(entries)

    def renew(self, data: bytes) -> None:
        """Replace all entries by those of `data`."""
        replace_file(self.path, _entries_of(data, 0).tobytes())


def _entries_of(data: bytes, start: int) -> np.ndarray:
    """One entry per row, so that damage is located to the line."""
    entries, position = [], 0
    while position < len(data):
        end = data.index(b"\n", position) + 1
        entries.append((start + end, zlib.crc32(data[position:end])))
        position = end
    return np.array(entries, ENTRY)


def first_damage(data: bytes, entries: np.ndarray, start: int = 0) -> Damage | None:
    """The first sealed bytes that were changed; None if there are none.

    Args:
        data: the file from byte `start`, where an entry ended, to its end.
    """
    size, view, begin = start + len(data), memoryview(data), start
    last = int(entries["end"][-1]) if len(entries) else 0
    for end, crc in entries.tolist():
        if end <= begin or end > size or zlib.crc32(view[begin - start : end - start]) != crc:
            missing = max(0, last - size)
            return Damage(begin - start, max(begin, min(end, size)) - start, missing)
        begin = end
    return None
