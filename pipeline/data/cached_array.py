"""Arrays that are computed once and kept on disk with a checksum: a damaged one is computed anew, never used."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

ALGORITHM = "blake2b"  # about twice as fast as SHA-256 on processors without instructions for it, and files are large
_log = logging.getLogger(__name__)

# Files whose checksum was right, so that each is read once by a process: path, inode, size and time of change.
_VERIFIED: set[tuple[Path, int, int, int]] = set()


def cached_array(path: Path, shape: tuple[int, ...], write: Callable[[Path], None], *, mapped: bool) -> np.ndarray:
    """A float32 array from a .npy file, which is made if it is missing or damaged.

    Args:
        path: of the file; its checksum is kept beside it.
        shape: that it must have.
        write: makes a .npy file of that shape at a path.
        mapped: read it as it is used (a memory map) instead of at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        reason = _reason_to_make(path, shape)
        if reason:
            if path.is_file() and _checksum(path).is_file():  # without one it was made by an earlier version
                _log.warning("%s is computed again: %s", path, reason)
            partial = path.with_suffix(".partial")
            write(partial)
            digest = _digest(partial)
            partial.replace(path)
            _checksum(path).write_text(digest)
            _VERIFIED.add(_identity(path))
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


def _checksum(path: Path) -> Path:
    return path.with_suffix(f".{ALGORITHM}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, ALGORITHM).hexdigest()


def _identity(path: Path) -> tuple[Path, int, int, int]:
    status = path.stat()
    return path, status.st_ino, status.st_size, status.st_mtime_ns


def _reason_to_make(path: Path, shape: tuple[int, ...]) -> str:
    """Why the file cannot be used; nothing if it can."""
    if not _checksum(path).is_file():
        return "it has no checksum"
    try:
        if _identity(path) not in _VERIFIED:
            if _digest(path) != _checksum(path).read_text():
                return "its checksum is another"
            _VERIFIED.add(_identity(path))
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        return str(error).splitlines()[0]
    if stored.shape != shape or stored.dtype != np.float32:
        return f"it holds {stored.dtype} {list(stored.shape)}, not float32 {list(shape)}"
    return ""
