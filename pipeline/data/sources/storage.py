"""Where files of a source lie: a local disk, or any address that fsspec knows (s3://, gs://, hf://, ...)."""

from __future__ import annotations

import glob
import io
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pipeline.data.decode import BadImage
from pipeline.data.sources.braces import expand_braces
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.config import ImagesConfig

READ_BYTES = 4 * 2**20  # that a sequential reader of a remote file asks for at a time
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether a text is an address and not a path."""
    return bool(_URL.match(text))


@dataclass(frozen=True)
class StoredFile:
    """A file.

    Attributes:
        path: as its storage knows it.
        size: bytes.
        time: a number that changes with the content: the modification time in ns, or a hash of the ETag.
    """

    path: str
    size: int
    time: int


class Storage(ABC):
    """Files to list and to read in ranges. Thread-safe.

    Attributes:
        prefix: what an address has before the path, for messages.
    """

    prefix = ""

    def address(self, path: str) -> str:
        """A path with its prefix, unless it has that already, as paths of https:// do."""
        return path if is_url(path) else f"{self.prefix}{path}"

    @abstractmethod
    def stat(self, path: str) -> StoredFile | None:
        """One file; None if there is none."""

    def stat_many(self, paths: list[str]) -> list[StoredFile | None]:
        """`stat` of several files."""
        return [self.stat(path) for path in paths]

    @abstractmethod
    def glob(self, pattern: str) -> list[StoredFile]:
        """The files that match a pattern, by path."""

    @abstractmethod
    def is_folder(self, path: str) -> bool:
        """Whether there is anything below a path."""

    @abstractmethod
    def below(self, folder: str) -> Iterator[StoredFile]:
        """All files below a folder, without hidden ones."""

    @abstractmethod
    def read(self, file: StoredFile, start: int, stop: int) -> bytes:
        """The bytes from `start` up to `stop`.

        Raises:
            BadImage: the file is gone, or is shorter than it was.
            UserError: the storage cannot be reached.
        """

    @abstractmethod
    def open(self, file: StoredFile) -> IO[bytes]:
        """The file as a stream that can seek."""


class LocalStorage(Storage):
    """Files of the local disk."""

    def stat(self, path: str) -> StoredFile | None:
        if not os.path.isfile(path):  # noqa: PTH113
            return None
        status = os.stat(path)  # noqa: PTH116
        return StoredFile(path, status.st_size, status.st_mtime_ns)

    def glob(self, pattern: str) -> list[StoredFile]:
        found = (self.stat(path) for path in sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207
        return [file for file in found if file]

    def is_folder(self, path: str) -> bool:
        return os.path.isdir(path)  # noqa: PTH112

    def below(self, folder: str) -> Iterator[StoredFile]:
        for place, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith(".") and (file := self.stat(os.path.join(place, name))):  # noqa: PTH118
                    yield file

    def read(self, file: StoredFile, start: int, stop: int) -> bytes:
        try:
            with Path(file.path).open("rb", buffering=0) as opened:
                opened.seek(start)
                data = opened.read(stop - start)
        except OSError as error:
            raise BadImage(f"unreadable: {file.path}: {error.strerror or error}") from error
        if len(data) != stop - start:
            raise BadImage(f"unreadable: {file.path} ends before byte {stop}")
        return data

    def open(self, file: StoredFile) -> IO[bytes]:
        return Path(file.path).open("rb")


class RangeFile(io.RawIOBase):
    """A stream over the ranges of a stored file; reads READ_BYTES at a time and keeps the last ones."""

    def __init__(self, storage: Storage, file: StoredFile) -> None:
        self._storage, self._file = storage, file
        self._at, self._start, self._bytes = 0, 0, b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._file.size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._file.size if size is None or size < 0 else min(self._file.size, self._at + size)
        parts = []
        while self._at < end:
            if not self._start <= self._at < self._start + len(self._bytes):
                self._start = self._at - self._at % READ_BYTES
                stop = min(self._start + READ_BYTES, self._file.size)
                self._bytes = self._storage.read(self._file, self._start, stop)
            first = self._at - self._start
            part = self._bytes[first : first + end - self._at]
            self._at += len(part)
            parts.append(part)
        return b"".join(parts)

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


def open_storage(config: ImagesConfig, cache: Path) -> tuple[Storage, str]:
    """The storage of `images.root`, and the root as this storage knows it.

    Raises:
        UserError: fsspec or what it needs for this kind of address is not installed.
    """
    root = str(config.root)
    if not is_url(root):
        return LocalStorage(), os.path.abspath(root)
    from pipeline.data.sources.remote_storage import open_remote  # fsspec is an optional package

    return open_remote(root, cache, config.remote_cache_mb)


def find_shards(storage: Storage, root: str, suffix: str) -> tuple[str, list[StoredFile]]:
    """The files that `images.root` names: a file, a folder, a pattern with *, or a range such as {000..099}.

    Args:
        root: as the storage knows it.
        suffix: of the files in a folder.

    Returns:
        the folder that they are below, with a slash at the end, and the files by path.

    Raises:
        UserError: one is missing, or there is none.
    """
    paths = expand_braces(root)
    found: list[StoredFile] = []
    for path, file in zip(paths, storage.stat_many(paths), strict=True):
        if file:
            found.append(file)
        elif "*" in path or "?" in path:
            found += storage.glob(path)
        elif len(paths) > 1:
            raise UserError(
                f"images.root: {storage.address(path)} is missing, one of the {len(paths)} files of {storage.address(root)}; copy it there, or change the range"
            )
        else:
            found += [file for file in storage.below(path) if file.path.endswith(suffix)]
    if not found:
        raise UserError(
            f"images.root: there is no file *{suffix} in {storage.address(root)}; name a file, a folder, or files with * or {{0..9}}"
        )
    files = sorted({file.path: file for file in found}.values(), key=lambda file: file.path)
    folders = {file.path.rsplit("/", 1)[0] for file in files}
    return f"{common_folder(folders).rstrip('/')}/", files


def common_folder(folders: Iterable[str]) -> str:
    """The folder that all are below or equal to. `os.path.commonpath` would make https:/ of https://."""
    parts = zip(*(folder.split("/") for folder in folders))  # noqa: B905  up to the shortest
    return "/".join(same[0] for same in takewhile(lambda part: len(set(part)) == 1, parts))


@contextmanager
def reading_shard(file: StoredFile, what: str) -> Iterator[None]:
    """Report what goes wrong while the contents of a file are listed.

    Raises:
        UserError: it is damaged.
    """
    try:
        yield
    except (UserError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # libraries raise nearly anything about a damaged file
        reason = " ".join((str(error) or type(error).__name__).split())[:300]
        raise UserError(f"{file.path}: not a readable {what}: {reason}; copy it again, or leave it out") from error
