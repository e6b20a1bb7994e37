"""Resolve IMAGES: a file, a folder, a glob, or a list of names on standard input; names are streamed, not collected."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

from pipeline.errors import UserError

STANDARD_INPUT = "-"
MAX_LINE = 65_536  # characters; longer than any system's file names


@dataclass(frozen=True)
class Source:
    """Names of files, in order.

    Attributes:
        name: as the user wrote it.
        count: number of files; None for standard input, where it is unknown.
        paths: yields them; may be called more than once, except for standard input.
    """

    name: str
    count: int | None
    paths: Callable[[], Iterator[Path]]


def open_source(patterns: str | Sequence[str], standard_input: TextIO) -> Source:
    """The files of one pattern, or of several in order.

    Files of a folder are sorted by name, without hidden ones; those of a glob are sorted; those of a list keep its order.

    Raises:
        UserError: a pattern matches nothing, or standard input is combined with something else.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if STANDARD_INPUT in patterns:
        if len(patterns) > 1:
            raise UserError(
                f"IMAGES={' '.join(patterns)}: - (a list on standard input) cannot be combined with other names; use it alone"
            )
        return Source("standard input", None, lambda: _read_names(standard_input))
    sources = [_resolve(pattern) for pattern in patterns]
    count = sum(source.count or 0 for source in sources)
    return Source(" ".join(patterns), count, lambda: chain.from_iterable(source.paths() for source in sources))


def _resolve(pattern: str) -> Source:
    path = Path(pattern).expanduser()
    if path.is_dir():
        source = Source(pattern, sum(1 for _ in _walk(path)), lambda: _walk(path))
    elif path.is_file():
        source = Source(pattern, 1, lambda: iter([path]))
    elif path.exists():
        raise UserError(f"IMAGES={pattern}: not a regular file; name a file, a folder or a glob")
    else:
        found = sorted(name for name in glob.iglob(str(path), recursive=True) if os.path.isfile(name))  # noqa: PTH113, PTH207
        source = Source(pattern, len(found), lambda: map(Path, found))
    if not source.count:
        raise UserError(
            f"IMAGES={pattern}: no such file, an empty folder, or a glob without a match; name a file, a folder or a glob"
        )
    return source


def _read_names(stream: TextIO) -> Iterator[Path]:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="surrogateescape")  # names are bytes to the system, UTF-8 or not
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise UserError(f"standard input, line {number}: longer than any file name; give one name per line")
        if name := line.rstrip("\r\n"):
            yield Path(name).expanduser()


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder, with one folder's names in memory at a time.

    Links to folders are not followed, since they may form a cycle.
    """
    with os.scandir(folder) as entries:
        found = sorted(
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.name.startswith(".")
        )
    for name, is_folder in found:
        if is_folder:
            yield from _walk(folder / name)
        elif (folder / name).is_file():
            yield folder / name
