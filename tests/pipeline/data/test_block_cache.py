"""The local cache of remote files: limit, least recently used, damage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.data.sources import block_cache
from pipeline.data.sources.block_cache import CHECKSUM_BYTES, BlockCache
from pipeline.data.sources.storage import StoredFile

BLOCK = 100
CONTENT = bytes(range(250)) * 2  # five blocks


class Remote:
    """Counts what is fetched."""

    def __init__(self) -> None:
        self.fetched: list[tuple[int, int]] = []

    def __call__(self, file: StoredFile, start: int, stop: int) -> bytes:
        self.fetched.append((start, stop))
        return CONTENT[start:stop]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cache, "BLOCK_BYTES", BLOCK)


FILE = StoredFile("bucket/a", len(CONTENT), 7)


def test_blocks_are_fetched_once(tmp_path: Path) -> None:
    remote, cache = Remote(), BlockCache(tmp_path, 10_000)
    assert cache.read(FILE, 90, 210, remote) == CONTENT[90:210]
    assert remote.fetched == [(0, 100), (100, 200), (200, 300)]
    for one in (cache, BlockCache(tmp_path, 10_000)):  # also in another process
        assert one.read(FILE, 10, 299, remote) == CONTENT[10:299]
    assert len(remote.fetched) == 3
    cache.read(StoredFile("bucket/a", len(CONTENT), 8), 0, 10, remote)
    assert remote.fetched[3:] == [(0, 100)], "another version of the file"


def test_the_least_recently_used_blocks_are_removed(tmp_path: Path) -> None:
    remote, cache = Remote(), BlockCache(tmp_path, 4 * (BLOCK + CHECKSUM_BYTES))
    for number in range(4):
        cache.read(FILE, number * BLOCK, (number + 1) * BLOCK, remote)
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.stat().st_mtime > 1_000_000:
                os.utime(path, (number, number))
    cache.read(FILE, 400, 500, remote)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 4 * (BLOCK + CHECKSUM_BYTES)
    remote.fetched.clear()
    cache.read(FILE, 200, 500, remote)
    assert remote.fetched == [], "the newer ones are kept"
    cache.read(FILE, 0, 100, remote)
    assert remote.fetched == [(0, 100)], "the oldest was removed"


def test_a_damaged_block_is_fetched_again(tmp_path: Path) -> None:
    remote = Remote()
    BlockCache(tmp_path, 10_000).read(FILE, 0, 100, remote)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    whole = path.read_bytes()
    for damaged in (whole[:50], bytes([whole[0] ^ 1]) + whole[1:], b""):
        path.write_bytes(damaged)
        assert BlockCache(tmp_path, 10_000).read(FILE, 5, 20, remote) == CONTENT[5:20]
        assert path.read_bytes() == whole
    assert len(remote.fetched) == 4


def test_less_than_a_block_keeps_nothing(tmp_path: Path) -> None:
    remote = Remote()
    assert BlockCache(tmp_path / "none", BLOCK - 1).read(FILE, 3, 450, remote) == CONTENT[3:450]
    assert remote.fetched == [(3, 450)]
    assert not (tmp_path / "none").exists()
