"""Lists a folder with the size and time of every file, as a process of its own: a stat call takes most of the time of
opening a folder of millions of images, and threads of one interpreter cannot make several at once.

Started as a script (`python -S folder_worker.py <root> <share> <shares>`, with PYTHONHASHSEED=0, so that all hash names
alike); imports only the standard library. Every process walks all folders, but looks at its share of the files only,
chosen by a hash of their names, so that a file is never missed while others come and go.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

NO_FILE, LINKED_FOLDER = 1, 2  # kinds of entries that cannot be images; 0 otherwise
UNKNOWN = -1  # size and time of a file that has none
STEP = 16_384  # files that are handed on together


class Files(NamedTuple):
    """Some files below a folder: keys, sizes in bytes, modification times in ns, kinds."""

    keys: list[str]
    sizes: array[int]
    times: array[int]
    kinds: bytearray


def _none() -> Files:
    return Files([], array("q"), array("q"), bytearray())


def list_files(root: str, share: int = 0, shares: int = 1) -> Iterator[Files]:
    """All files below a folder, or a share of them, in the order of the file system.

    Hidden files and folders are ignored. Links to folders are not followed, since they may form a cycle.

    Args:
        root: its absolute path, with a separator at the end.
    """
    found, folders = _none(), [""]
    while folders:
        folder = folders.pop()
        with os.scandir(root + folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{name}/")
                elif shares == 1 or hash(name) % shares == share:
                    size, time, kind = _look_at(entry)
                    found.keys.append(folder + name)
                    found.sizes.append(size)
                    found.times.append(time)
                    found.kinds.append(kind)
                    if len(found.keys) == STEP:
                        yield found
                        found = _none()
    yield found


def _look_at(entry: os.DirEntry[str]) -> tuple[int, int, int]:
    try:
        if entry.is_file():
            status = entry.stat()
            return status.st_size, status.st_mtime_ns, 0
        if entry.is_dir():
            return UNKNOWN, UNKNOWN, LINKED_FOLDER
    except OSError:
        return UNKNOWN, UNKNOWN, 0
    # A link to nothing is reported when it is read.
    return UNKNOWN, UNKNOWN, NO_FILE if os.path.exists(entry.path) else 0  # noqa: PTH110


def encoded(keys: list[str]) -> tuple[bytes, array[int]]:
    """Keys as pipeline.data.columns.encode_key returns them, one after the other, and the length of each in bytes."""
    data = "".join(keys)
    if data.isascii():
        return data.encode(), array("q", map(len, keys))
    stored = [key.encode("utf-8", "surrogatepass") for key in keys]
    return b"".join(stored), array("q", map(len, stored))


def write_files(files: Files, out: BinaryIO) -> None:
    """Write some files: their number and the bytes of all keys, the length of each key, sizes, times, kinds, keys."""
    data, lengths = encoded(files.keys)
    out.write(struct.pack("<qq", len(files.keys), len(data)))
    for part in (lengths, files.sizes, files.times, files.kinds, data):
        out.write(part)


if __name__ == "__main__":
    for some in list_files(os.fsdecode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])):
        write_files(some, sys.stdout.buffer)
