"""File operations whose result survives a power cut."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write all bytes: a single `os.write` may write fewer."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably: it holds either `data` or its previous contents."""
    path = path.resolve()  # write to the target of a link
    temporary = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        with temporary.open("wb", buffering=0) as file:
            write_all(file.fileno(), data)
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def keep_copy(path: Path, data: bytes, what: str) -> Path:
    """Write `data` to a new file next to `path`: `<name>.<what>-1`, or the next free number."""
    number = 1
    while True:
        copy = path.with_name(f"{path.name}.{what}-{number}")
        try:
            with copy.open("xb", buffering=0) as file:
                write_all(file.fileno(), data)
                os.fsync(file.fileno())
            return copy
        except FileExistsError:
            number += 1
        except OSError:
            copy.unlink(missing_ok=True)
            raise


def set_tail_aside(path: Path, file: io.FileIO, size: int, tail: bytes) -> Path:
    """Cut off the torn line at the end, which a power cut left and which was never acknowledged.

    Args:
        file: `path`, open for writing.
        size: bytes to keep.
        tail: the bytes behind them.

    Returns:
        the file next to `path` that has the tail now.
    """
    aside = path.with_name(f"{path.name}.torn-{size}")
    with aside.open("ab") as keep:
        keep.write(tail + b"\n")
        keep.flush()
        os.fsync(keep.fileno())
    file.truncate(size)
    os.fsync(file.fileno())
    return aside


def end_of_last_line(data: bytes) -> int:
    """Offset just behind the last line feed."""
    return data.rfind(b"\n") + 1


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to disk; without them a new file does not survive a power cut."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
