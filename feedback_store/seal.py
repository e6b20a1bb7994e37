"""A checksum of every append, beside the file: shows which stored bytes are no longer what was stored.

CSV has no room for checksums, and a flipped bit in a name is still a name. An entry is written after the rows it covers
are on disk and before they are acknowledged; one that a power cut tore off leaves its rows unsealed, not unreadable.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ENTRY = np.dtype([("end", "<u8"), ("crc", "<u4")])  # rows up to byte `end`, from the end of the entry before


@dataclass(frozen=True)
class Seal:
    """Entries of 12 bytes in a file beside the log."""

    path: Path

    def entries(self) -> np.ndarray:
        """Whole entries, in order."""
        if not self.path.is_file():
            return np.empty(0, ENTRY)
        data = self.path.read_bytes()
        return np.frombuffer(data[: len(data) // ENTRY.itemsize * ENTRY.itemsize], ENTRY)

    def end_within(self, size: int) -> int:
        """Byte up to which a log of `size` bytes is sealed; a torn entry and those of bytes beyond are forgotten."""
        if not self.path.is_file():
            return 0
        with self.path.open("r+b") as file:
            length = file.seek(0, os.SEEK_END)
            whole = length // ENTRY.itemsize
            end = 0
            while whole:
                file.seek((whole - 1) * ENTRY.itemsize)
                end = int(np.frombuffer(file.read(ENTRY.itemsize), ENTRY)["end"][0])
                if end <= size:
                    break
                whole, end = whole - 1, 0
            if whole * ENTRY.itemsize < length:
                file.truncate(whole * ENTRY.itemsize)
        return end

    def add(self, data: bytes, end: int) -> None:
        """Seal `data`, the bytes of the log between the last entry's end and `end`."""
        with self.path.open("ab") as file:
            file.write(np.array([(end, zlib.crc32(data))], ENTRY).tobytes())

    def first_damage(self, data: memoryview, entries: np.ndarray) -> tuple[int, int] | None:
        """First and last byte offset of the first sealed piece that is not what was stored; None if all are."""
        start = 0
        for end, crc in entries[entries["end"] <= len(data)].tolist():
            if end < start or zlib.crc32(data[start:end]) != crc:
                return start, end
            start = end
        return None
