"""A local cache of blocks of remote files, with a limit; the least recently used blocks are removed first.

Each block has a checksum, which is compared when it is read for the first time in a while, so that neither a power cut
nor a damaged disk changes an image.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from pipeline.data.sources.storage import StoredFile
from pipeline.run.atomic_files import short_hash

BLOCK_BYTES = 4 * 2**20
CHECKSUM_BYTES = 16
VERIFIED = 4096  # blocks that are not compared again
KEEP = 0.9  # of the limit, after blocks were removed
LOCKS = 64

Fetch = Callable[[StoredFile, int, int], bytes]


class BlockCache:
    """Ranges of files, by blocks. Thread-safe; several processes may share a folder.

    Args:
        limit: bytes; with less than a block nothing is kept.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder, self._limit = folder, limit
        self._bytes: int | None = None  # of all blocks, counted before the first is added
        self._guard = threading.Lock()
        self._locks = [threading.Lock() for _ in range(LOCKS)]
        self._verified: OrderedDict[str, None] = OrderedDict()

    def read(self, file: StoredFile, start: int, stop: int, fetch: Fetch) -> bytes:
        """The bytes of a file from `start` up to `stop`.

        Args:
            fetch: reads a range of a file from where it lies.
        """
        if self._limit < BLOCK_BYTES:
            return fetch(file, start, stop)
        parts = []
        for number in range(start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)):
            first = number * BLOCK_BYTES
            last = min(first + BLOCK_BYTES, file.size)
            parts.append(self._part(file, first, last, max(start, first), min(stop, last), fetch))
        return b"".join(parts)

    def _part(self, file: StoredFile, first: int, last: int, start: int, stop: int, fetch: Fetch) -> bytes:
        """The bytes from `start` up to `stop` of the block from `first` up to `last`."""
        name = short_hash(file.path, str(file.size), str(file.time), str(first))
        path = self._folder / name[:2] / name
        with self._locks[hash(name) % LOCKS]:  # two threads fetch the same block once
            data = self._stored(path, last - first, start - first, stop - first)
            if data is None:
                block = fetch(file, first, last)
                self._store(path, block)
                data = block[start - first : stop - first]
        return data

    def _stored(self, path: Path, size: int, start: int, stop: int) -> bytes | None:
        """A part of a stored block; None if it is missing or damaged."""
        try:
            with path.open("rb", buffering=0) as file:
                if path.name not in self._verified:
                    block = file.read(size + CHECKSUM_BYTES)
                    if len(block) != size + CHECKSUM_BYTES or _checksum(block[:size]) != block[size:]:
                        return None
                    self._remember(path.name)
                    os.utime(path)
                    return block[start:stop]
                file.seek(start)
                data = file.read(stop - start)
        except OSError:
            return None
        return data if len(data) == stop - start else None

    def _store(self, path: Path, block: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk: the bytes are fetched again next time
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                partial.write_bytes(block + _checksum(block))
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
            self._remember(path.name)
            self._count(len(block) + CHECKSUM_BYTES)

    def _remember(self, name: str) -> None:
        with self._guard:
            self._verified[name] = None
            if len(self._verified) > VERIFIED:
                self._verified.popitem(last=False)

    def _count(self, added: int) -> None:
        with self._guard:
            self._bytes = _total(self._folder) if self._bytes is None else self._bytes + added
            if self._bytes <= self._limit:
                return
            blocks = sorted(_blocks(self._folder))
            self._bytes = sum(size for _, size, _ in blocks)
            for _, size, path in blocks:
                if self._bytes <= KEEP * self._limit:
                    break
                Path(path).unlink(missing_ok=True)
                self._bytes -= size


def _checksum(block: bytes) -> bytes:
    return hashlib.blake2b(block, digest_size=CHECKSUM_BYTES).digest()


def _blocks(folder: Path) -> list[tuple[int, int, str]]:
    """Time of the last use, size and path of every block."""
    found = []
    with os.scandir(folder) as parts:
        for part in parts:
            with os.scandir(part.path) as blocks:
                for block in blocks:
                    with contextlib.suppress(OSError):
                        status = block.stat()
                        found.append((status.st_mtime_ns, status.st_size, block.path))
    return found


def _total(folder: Path) -> int:
    return sum(size for _, size, _ in _blocks(folder))
