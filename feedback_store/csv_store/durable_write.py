"""Small things about files that survive a power cut."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write every byte, however many the system takes at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def replace_file(path: Path, data: bytes) -> None:
    """The file holds `data` afterwards, or what it held before; the folder's entry is on disk, too."""
    path = path.resolve()  # a link stays a link
    made = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        with made.open("wb", buffering=0) as file:
            write_all(file.fileno(), data)
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, made)
        made.replace(path)
    except OSError:
        made.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def keep_copy(path: Path, data: bytes, what: str) -> Path:
    """Write `data` to a new file beside `path`, `<name>.<what>-1` or the next number that is free."""
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


def set_tail_aside(path: Path, file: io.FileIO, whole: int, torn: bytes) -> Path:
    """Cut off what follows the last whole line, which was never acknowledged: a power cut left it.

    Args:
        file: `path`, open for writing.
        whole: bytes to keep.
        torn: the bytes behind them.

    Returns:
        the file beside `path` that has them now.
    """
    aside = path.with_name(f"{path.name}.torn-{whole}")
    with aside.open("ab") as keep:
        keep.write(torn + b"\n")
        keep.flush()
        os.fsync(keep.fileno())
    file.truncate(whole)
    os.fsync(file.fileno())
    return aside


def end_of_last_line(data: bytes) -> int:
    """Offset just behind the last line feed."""
    return data.rfind(b"\n") + 1


def sync_folder(folder: Path) -> None:
    """A new file survives a power cut only once its folder's entry is on disk, too."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
