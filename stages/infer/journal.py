"""The predictions so far, one line per image: a stopped `infer` resumes from them, and its output is written from them.

The first line says what the lines were made with. A line that was torn by a crash ends what counts. Lines are whole
batches: what is predicted anew after an interruption is computed together with the same images as before, so that not
even rounding differs.
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

FLUSH_SECONDS = 5.0  # between two calls of fsync: what a power cut may cost

Line = dict[str, Any]


def stamp(path: Path) -> list[int]:
    """Size and time of change: whether a file is still the one that was predicted. [] if it cannot be read."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return []
    return [found.st_size, found.st_mtime_ns]


class Journal:
    """Lines on disk, appended batch by batch; used as a context manager.

    Args:
        path: the file; it stays until `remove`.
        key: what the lines are made with; those made with anything else are thrown away.
        batch: images a batch.

    Attributes:
        done: lines of an interrupted run that are still right, a multiple of `batch`.
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
        """Keep the lines that stand for the first of these paths; returns those that must be predicted.

        A line stands if its image has the same name in the same place of the order and is unchanged since.
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
            if all(self._stands(line, path) for line, path in zip(lines, taken, strict=True)):
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

    def _stands(self, line: bytes, path: Path) -> bool:
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
        """Have it on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._flushed = time.monotonic()

    def lines(self) -> Iterator[Line]:
        """All of them, in order."""
        self._file.flush()
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def remove(self) -> None:
        """Delete the file: its results are elsewhere."""
        self.path.unlink(missing_ok=True)


def _encoded(line: Line) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
