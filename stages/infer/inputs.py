"""What IMAGES stands for: a file, a folder, a glob, or a list of names on standard input; never all names in memory."""

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
MAX_LINE = 65_536  # characters; no system has longer names


@dataclass(frozen=True)
class Source:
    """Names of files, in order.

    Attributes:
        name: what the user wrote.
        count: how many there are; None for standard input, which tells by ending.
        paths: yields them; may be called more than once, except for standard input.
    """

    name: str
    count: int | None
    paths: Callable[[], Iterator[Path]]


def open_source(patterns: str | Sequence[str], standard_input: TextIO) -> Source:
    """The files that one pattern, or several after each other, stand for.

    A folder's come in order of their names, hidden ones left out; a glob's sorted; a list's as given.

    Raises:
        UserError: there is nothing of one of the names, or standard input is not the only one.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    if STANDARD_INPUT in patterns:
        if len(patterns) > 1:
            raise UserError(f"IMAGES={' '.join(patterns)}: - (a list on standard input) goes with nothing else")
        return Source("standard input", None, lambda: _listed(standard_input))
    sources = [_named(pattern) for pattern in patterns]
    count = sum(source.count or 0 for source in sources)
    return Source(" ".join(patterns), count, lambda: chain.from_iterable(source.paths() for source in sources))


def _named(pattern: str) -> Source:
    path = Path(pattern).expanduser()
    if path.is_dir():
        source = Source(pattern, sum(1 for _ in _below(path)), lambda: _below(path))
    elif path.is_file():
        source = Source(pattern, 1, lambda: iter([path]))
    elif path.exists():
        raise UserError(f"IMAGES={pattern}: not a regular file; name a file, a folder or a glob")
    else:
        found = sorted(name for name in glob.iglob(str(path), recursive=True) if os.path.isfile(name))  # noqa: PTH113, PTH207
        source = Source(pattern, len(found), lambda: map(Path, found))
    if not source.count:
        raise UserError(f"IMAGES={pattern}: no such file, no file in that folder, and no match for it as a glob")
    return source


def _listed(stream: TextIO) -> Iterator[Path]:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="surrogateescape")  # names are bytes to the system, UTF-8 or not
    number = 0
    while line := stream.readline(MAX_LINE):
        number += 1
        if len(line) == MAX_LINE:
            raise UserError(f"standard input, line {number}: longer than any file's name; give one name per line")
        if name := line.rstrip("\r\n"):
            yield Path(name).expanduser()


def _below(folder: Path) -> Iterator[Path]:
    """Files below a folder, one folder's names in memory at a time; links to folders are not followed, they may be circles."""
    with os.scandir(folder) as entries:
        found = sorted(
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries if not entry.name.startswith(".")
        )
    for name, is_folder in found:
        if is_folder:
            yield from _below(folder / name)
        elif (folder / name).is_file():
            yield folder / name
