"""The predictions so far, one line per image: a stopped `infer` resumes from them, and its output is written from them.

The first line is a key of everything the predictions depend on. The journal ends at the first incomplete line. Lines are
kept by complete batches: after an interruption an image is computed in a batch with the same images, so that even
rounding is the same.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

FLUSH_SECONDS = 5.0  # between two calls of fsync: the most work that a power cut can lose

Line = dict[str, Any]


def stamp(path: Path) -> list[int]:
    """Size and modification time, to detect that a file changed after it was predicted; [] if it cannot be read."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return []
    return [status.st_size, status.st_mtime_ns]


class Journal:
    """Lines on disk, appended batch by batch; used as a context manager.

    Args:
        path: the file; it is kept until `remove`.
        key: what the predictions depend on; lines of another key are deleted.
        batch: images per batch.

    Attributes:
        done: lines of an interrupted run that are still valid, a multiple of `batch`.
    """

    def __init__(self, path: Path, key: dict[str, Any], batch: int) -> None:
        self.path, self.key, self.batch = path, key, batch
        self.done = 0

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a+b")
        self._flushed = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()
        self._file.close()

    def resume(self, paths: Iterator[Path]) -> Iterator[Path]:
        """Keep the valid lines for the first of these paths; returns the paths that must be predicted.

        A line is valid if its image has the same path and position, and has not changed since.
        """
        self._file.seek(0)
        header = self._file.readline()
        if self._parsed(header) != {"key": self.key}:
            self._file.truncate(0)
            self._write([{"key": self.key}])
            return paths
        end, pending = len(header), list[Path]()
        while not pending and (taken := list(islice(paths, self.batch))):
            lines = [self._file.readline() for _ in taken]
            if all(self._is_valid(line, path) for line, path in zip(lines, taken, strict=True)):
                end += sum(map(len, lines))
                self.done += len(taken)
            else:
                pending = taken
        self._file.truncate(end)
        return chain(pending, paths)

    @staticmethod
    def _parsed(line: bytes) -> Line | None:
        try:
            return json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            return None

    def _is_valid(self, line: bytes, path: Path) -> bool:
        parsed = self._parsed(line)
        return parsed is not None and parsed.get("path") == str(path) and parsed.get("stamp") == stamp(path)

    def add(self, lines: Sequence[Line]) -> None:
        """Append a batch."""
        self._write(lines)
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def _write(self, lines: Sequence[Line]) -> None:
        self._file.write(b"".join(map(_encoded, lines)))
        self._file.flush()

    def flush(self) -> None:
        """Write everything to disk (fsync)."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def lines(self) -> Iterator[Line]:
        """All lines, in order."""
        self._file.flush()
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def _encoded(line: Line) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
