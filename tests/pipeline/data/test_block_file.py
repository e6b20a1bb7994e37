"""A file written by blocks resumes after the last intact one, whatever a kill or a power cut left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.block_file import BlockFile

HEADER, BLOCKS = b"header!", [b"first", b"second block", b"third"]
WHOLE = HEADER + b"".join(BLOCKS)


def write(path: Path, count: int) -> None:
    with BlockFile(path, HEADER) as file:
        for block in BLOCKS[:count]:
            file.add(block)


def journal(path: Path) -> Path:
    return path.with_name(f"{path.name}.blocks")


def lost_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def block_without_its_line(path: Path) -> None:
    journal(path).write_bytes(b"".join(journal(path).read_bytes().splitlines(keepends=True)[:-1]))


def torn_line(path: Path) -> None:
    journal(path).write_bytes(journal(path).read_bytes()[:-5])


def zeros_in_the_second_block(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(BLOCKS[1], bytes(len(BLOCKS[1]))))


def impossible_length(path: Path) -> None:
    lines = journal(path).read_bytes().splitlines(keepends=True)
    journal(path).write_bytes(b"".join([lines[0], b"9" * 30 + lines[1]]))


def no_journal(path: Path) -> None:
    journal(path).unlink()


def other_file(path: Path) -> None:
    path.write_bytes(b"other" + path.read_bytes())


def nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("happens", "left"),
    [
        (nothing, 2),
        (lost_bytes, 1),
        (block_without_its_line, 1),
        (torn_line, 1),
        (zeros_in_the_second_block, 1),
        (impossible_length, 0),
        (no_journal, 0),
        (other_file, 0),
    ],
)
def test_it_resumes_after_the_last_intact_block(happens: Callable[[Path], None], left: int, tmp_path: Path) -> None:
    path = tmp_path / "a.partial"
    write(path, 2)
    happens(path)
    with BlockFile(path, HEADER) as file:
        assert file.done == left
        for block in BLOCKS[file.done :]:
            file.add(block)
        file.finish()
    assert path.read_bytes() == WHOLE
    assert not journal(path).exists()


def test_another_header_starts_again(tmp_path: Path) -> None:
    path = tmp_path / "a.partial"
    write(path, 3)
    with BlockFile(path, b"another") as file:
        assert file.done == 0
    assert path.read_bytes() == b"another"
