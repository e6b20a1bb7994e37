"""Scans are resumed, incremental, and never trust what has changed."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import ipc
from support.shards import striped

from pipeline.config import ImagesConfig
from pipeline.data.columns import IdColumn, KeyColumn, Positions, SplitColumn, decode_key, encode_key
from pipeline.data.image_table import read_images
from pipeline.data.sources import folder_listing, identity
from pipeline.data.sources.folder import FolderSource
from pipeline.errors import UserError

COUNT = 40


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(COUNT):
        folder = tmp_path / "images" / ("train" if number < 30 else "val") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:03}.png").write_bytes(striped(number))
    return tmp_path / "images"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys that were read."""
    found: list[str] = []
    read = FolderSource.read

    def counted(self: FolderSource, key: str, max_bytes: int) -> bytes:
        found.append(key)
        return read(self, key, max_bytes)

    monkeypatch.setattr(FolderSource, "read", counted)
    return found


def test_only_what_is_new_or_changed_is_read(root: Path, tmp_path: Path, reads: list[str]) -> None:
    config = ImagesConfig(root=root, size=16)
    read_images(config, tmp_path / "cache")
    assert len(reads) == COUNT
    reads.clear()
    read_images(config, tmp_path / "cache")
    assert reads == []
    (root / "train/a/000.png").write_bytes(striped(100))
    (root / "train/a/new.png").write_bytes(striped(102))
    (root / "train/b/001.png").unlink()
    table, pixels = read_images(config, tmp_path / "cache")
    assert sorted(reads) == ["train/a/000.png", "train/a/new.png"]
    assert len(table) == COUNT
    assert identity(striped(100)) in table.position
    assert identity(striped(0)) not in table.position
    fresh, expected = read_images(config, tmp_path / "other")
    assert fresh.fingerprint == table.fingerprint
    assert torch.equal(pixels.batch(torch.arange(COUNT)), expected.batch(torch.arange(COUNT)))


def test_what_is_excluded_is_read_when_it_no_longer_is(root: Path, tmp_path: Path, reads: list[str]) -> None:
    without, _ = read_images(ImagesConfig(root=root, size=16, exclude=["train/b/*"]), tmp_path / "cache")
    assert (len(without), len(reads)) == (25, 25)
    table, _ = read_images(ImagesConfig(root=root, size=16), tmp_path / "cache")
    assert (len(table), len(reads)) == (COUNT, COUNT)
    again, _ = read_images(ImagesConfig(root=root, size=16, exclude=["train/b/*"]), tmp_path / "cache")
    assert (again.fingerprint, len(reads)) == (without.fingerprint, COUNT)


def test_a_larger_limit_stores_what_did_not_fit(
    root: Path, tmp_path: Path, reads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    config, image_mb = ImagesConfig(root=root, size=16), 16 * 16 * 3 / 2**20
    with caplog.at_level(logging.WARNING):
        _, partly = read_images(config, tmp_path / "cache", limit_mb=10.5 * image_mb)
    assert "30 of 40 decoded images do not fit into the cache" in caplog.text
    assert "set model.cache_limit_mb to 1 or more" in caplog.text
    reads.clear()
    caplog.clear()
    _, stored = read_images(config, tmp_path / "cache", limit_mb=1)
    assert len(reads) == 30
    assert not caplog.records
    assert torch.equal(partly.batch(torch.arange(COUNT)), stored.batch(torch.arange(COUNT)))
    reads.clear()
    read_images(config, tmp_path / "cache", limit_mb=1)
    assert reads == []


def test_an_image_that_changes_while_a_stage_runs_is_not_trained_on(root: Path, tmp_path: Path) -> None:
    table, pixels = read_images(ImagesConfig(root=root, size=16), tmp_path / "cache", limit_mb=0)
    (root / table.paths[0]).write_bytes(striped(100))
    with pytest.raises(UserError, match="its content has changed since the images were listed"):
        pixels.batch(torch.tensor([0]))


@pytest.mark.parametrize("gone", ["images.u8", "ids.u64", "scan.arrow", "*.table.arrow"])
def test_a_part_of_the_cache_that_is_gone_is_made_again(root: Path, tmp_path: Path, gone: str) -> None:
    config = ImagesConfig(root=root, size=16)
    first, before = read_images(config, tmp_path / "cache")
    expected = before.batch(torch.arange(COUNT))
    for path in (tmp_path / "cache").rglob(gone):
        path.unlink()
    second, after = read_images(config, tmp_path / "cache")
    assert first.fingerprint == second.fingerprint
    assert torch.equal(after.batch(torch.arange(COUNT)), expected)


def test_rows_of_a_cache_that_was_filled_anew_are_not_mixed_up(root: Path, tmp_path: Path) -> None:
    config = ImagesConfig(root=root, size=16)
    _, before = read_images(config, tmp_path / "cache")
    expected = before.batch(torch.arange(COUNT))
    for name in ("images.u8", "ids.u64"):
        (path,) = (tmp_path / "cache").rglob(name)
        path.unlink()
    other = tmp_path / "other"
    for number in range(COUNT + 10):
        (other / "train").mkdir(parents=True, exist_ok=True)
        (other / "train" / f"{number}.png").write_bytes(striped(200 + number))
    read_images(ImagesConfig(root=other, size=16), tmp_path / "cache")
    _, after = read_images(config, tmp_path / "cache")
    assert torch.equal(after.batch(torch.arange(COUNT)), expected)


def test_a_damaged_file_is_made_again(root: Path, tmp_path: Path) -> None:
    config = ImagesConfig(root=root, size=16)
    first = read_images(config, tmp_path / "cache")[0].fingerprint
    for name in ("scan.arrow", "*.table.arrow"):
        (path,) = (tmp_path / "cache").rglob(name)
        damaged = path.read_bytes()[:300]
        path.unlink()  # a memory map of the old file may still be open
        path.write_bytes(damaged)
        assert read_images(config, tmp_path / "cache")[0].fingerprint == first


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.config import ImagesConfig
from pipeline.data import scan_threads, source_scan
from pipeline.data.image_table import read_images
source_scan.PART_ROWS, scan_threads.CHUNK = 10, 5
write, written = source_scan.SourceScan._write_part, []
def write_and_die(self, done, results):
    write(self, done, results)
    written.append(done)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
source_scan.SourceScan._write_part = write_and_die
read_images(ImagesConfig(root=Path(sys.argv[1]), size=16), Path(sys.argv[2]))
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL exists on POSIX only")
def test_a_killed_first_opening_continues(root: Path, tmp_path: Path, reads: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), str(tmp_path / "cache")], check=False)
    assert done.returncode == -signal.SIGKILL
    table, pixels = read_images(ImagesConfig(root=root, size=16), tmp_path / "cache")
    assert len(reads) == COUNT - 20, "two parts of ten were on disk"
    fresh, expected = read_images(ImagesConfig(root=root, size=16), tmp_path / "other")
    assert table.fingerprint == fresh.fingerprint
    assert torch.equal(pixels.batch(torch.arange(COUNT)), expected.batch(torch.arange(COUNT)))
    assert not list((tmp_path / "cache").rglob("parts/*"))


@pytest.mark.skipif(os.name != "posix", reason="such names and links exist on POSIX only")
def test_processes_list_what_one_process_lists(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "train/a" / os.fsdecode(b"caf\xe9.png")).write_bytes(striped(50))
    (root / "train/a/ünï.png").write_bytes(striped(52))
    (root / "train/a/link.png").symlink_to(root / "nowhere")
    (root / "train/c").symlink_to(root / "train/a", target_is_directory=True)
    (root / ".hidden").mkdir()
    here = pa.Table.from_batches(FolderSource(root).listing(0)).sort_by("key")
    monkeypatch.setattr(folder_listing, "PROCESSES_FROM", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    there = pa.Table.from_batches(FolderSource(root).listing(COUNT)).sort_by("key")
    assert here.equals(there)
    assert len(here) == COUNT + 4


def test_the_table_lies_in_a_memory_mapped_file(root: Path, tmp_path: Path) -> None:
    table, _ = read_images(ImagesConfig(root=root, size=16), tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("*.table.arrow")
    stored = ipc.open_file(path).read_all()
    assert [f"img-{image:016x}" for image in stored["image"].to_pylist()] == list(table.ids)
    assert isinstance(table.ids, IdColumn)
    assert not table.ids.bits.flags.owndata
    assert not table.ids.bits.flags.writeable


def test_columns_behave_as_arrays_of_texts() -> None:
    names = ["b", "a", "caf\udce9", "图"]
    keys = KeyColumn(pa.chunked_array([pa.array([encode_key(name) for name in names], pa.large_binary())]))
    assert list(keys) == keys.tolist() == names
    assert [decode_key(encode_key(name)) for name in names] == names
    assert keys[-1] == "图"
    assert keys[np.array([2, 0])].tolist() == [names[2], "b"]
    assert keys[np.array([True, False, False, True])].tolist() == ["b", "图"]
    assert keys[1:3].tolist() == names[1:3]
    with pytest.raises(IndexError):
        keys[4]
    splits = SplitColumn(np.array([2, 1, 0, 2], np.int8))
    assert splits.tolist() == ["train", "val", "test", "train"]
    assert (splits == "train").tolist() == [True, False, False, True]
    assert not (splits == "other").any()
    ids = IdColumn(np.array([3, 2**63, 2**64 - 1], np.uint64))
    assert ids.tolist() == ["img-0000000000000003", "img-8000000000000000", "img-ffffffffffffffff"]
    position = Positions(ids)
    assert [position[image] for image in ids] == [0, 1, 2]
    assert position.get("img-0000000000000004", -1) == position.get("img-3", -1) == position.get("IMG", -1) == -1
    assert "img-00000000_0000003" not in position
    assert {"img-ffffffffffffffff", "x"} & position.keys() == {"img-ffffffffffffffff"}


def test_of_copies_the_first_by_name_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number}.png").write_bytes(striped(number))
        shutil.copy(folder / f"{number}.png", folder / f"copy of {number}.png")
    table, _ = read_images(ImagesConfig(root=folder, size=16, heldout_fraction=0.5), tmp_path / "cache")
    assert sorted(table.paths) == sorted(f"{number}.png" for number in range(12))
    assert [s.reason for s in table.skipped] == [f"duplicate: same content as {s.path[8:]}" for s in table.skipped]
