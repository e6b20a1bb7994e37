"""Arrays that are computed once and cached on disk with a checksum; a damaged one is computed again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

ALGORITHM = "blake2b"  # files are large; about twice as fast as SHA-256 on processors without SHA instructions
_log = logging.getLogger(__name__)

# Verified files, so that each is read once per process: path, inode, size and modification time.
_VERIFIED: set[tuple[Path, int, int, int]] = set()


def cached_array(path: Path, shape: tuple[int, ...], write: Callable[[Path], None], *, mapped: bool) -> np.ndarray:
    """A float32 array from a .npy file, which is written if it is missing or damaged.

    Args:
        path: of the file; its checksum is next to it.
        shape: expected shape.
        write: writes a .npy file of that shape to a path.
        mapped: return a memory map instead of reading the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        reason = _problem(path, shape)
        if reason:
            if path.is_file() and _checksum(path).is_file():  # without a checksum it is from an earlier version
                _log.warning("%s: %s; it is computed again", path, reason)
            partial = path.with_suffix(".partial")
            write(partial)
            digest = _digest(partial)
            partial.replace(path)
            _checksum(path).write_text(digest)
            _VERIFIED.add(_identity(path))
        return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


def stored_shape(path: Path) -> tuple[int, ...] | None:
    """The shape of an array that was cached; None if the file is missing or damaged."""
    with FileLock(path.with_suffix(".lock")):
        return None if _damage(path) else np.load(path, mmap_mode="r", allow_pickle=False).shape


def _checksum(path: Path) -> Path:
    return path.with_suffix(f".{ALGORITHM}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, ALGORITHM).hexdigest()


def _identity(path: Path) -> tuple[Path, int, int, int]:
    status = path.stat()
    return path, status.st_ino, status.st_size, status.st_mtime_ns


def _damage(path: Path) -> str:
    """Why the file is not an array that was written completely; empty if it is."""
    if not _checksum(path).is_file():
        return "no checksum"
    try:
        if _identity(path) not in _VERIFIED:
            if _digest(path) != _checksum(path).read_text():
                return "wrong checksum"
            _VERIFIED.add(_identity(path))
        np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        return str(error).splitlines()[0]
    return ""


def _problem(path: Path, shape: tuple[int, ...]) -> str:
    """Why the file cannot be used; empty if it can."""
    if reason := _damage(path):
        return reason
    stored = np.load(path, mmap_mode="r", allow_pickle=False)
    if stored.shape != shape or stored.dtype != np.float32:
        return f"contains {stored.dtype} {list(stored.shape)}, not float32 {list(shape)}"
    return ""
