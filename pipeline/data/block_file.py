"""A file that is written block by block, and resumed after the last intact block."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType


class BlockFile:
    """A header, then blocks of bytes; used as a context manager.

    The length and checksum of each block are in a second file, `<name>.blocks`, until `finish`. A block counts if its
    bytes have that checksum: after a power cut a file may be longer than what was written to it.

    Args:
        path: the file.
        header: its first bytes; a file with another header is started again.

    Attributes:
        done: number of blocks that were there when it was opened.
    """

    def __init__(self, path: Path, header: bytes) -> None:
        self.path, self.header = path, header
        self.journal = path.with_name(f"{path.name}.blocks")
        self.done = 0

    def __enter__(self) -> BlockFile:
        self._data, self._lines = self.path.open("a+b"), self.journal.open("a+b")
        self._resume()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._data.close()
        self._lines.close()

    def _resume(self) -> None:
        """Count the intact blocks, and cut both files after them."""
        self._data.seek(0)
        self._lines.seek(0)
        end = journal_end = 0
        for line in self._intact():
            end, journal_end = self._data.tell(), journal_end + len(line)
            self.done += 1
        self._data.truncate(end)
        self._lines.truncate(journal_end)
        if self.done:
            self.done -= 1  # the first is the header
        else:
            self.add(self.header)

    def _intact(self) -> Iterator[bytes]:
        """The journal's lines, as long as the bytes they stand for follow in the file."""
        for number, line in enumerate(self._lines):
            length, _, digest = line.decode("ascii", "replace").rstrip("\n").partition(" ")
            if not line.endswith(b"\n") or not length.isdigit() or int(length) > self.path.stat().st_size:
                return
            data = self._data.read(int(length))
            if _digest(data) != digest or (number == 0 and data != self.header):
                return
            yield line

    def add(self, block: bytes) -> None:
        """Append a block."""
        self._data.write(block)
        self._data.flush()
        self._lines.write(f"{len(block)} {_digest(block)}\n".encode())
        self._lines.flush()

    def finish(self) -> None:
        """All blocks are written: delete the list of checksums."""
        self.journal.unlink()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
