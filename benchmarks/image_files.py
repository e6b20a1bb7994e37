"""Many small JPEG files as a folder, as WebDataset and as Parquet, for benchmarks and tests."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("folder", "webdataset", "parquet")
SIDE, CLASSES, PICTURES = 32, 10, 256
PER_SHARD = 10_000
HELD_OUT = 5  # every so many shards are for evaluation
_COMMENT = b"\xff\xfe"


@cache
def _pictures() -> list[bytes]:
    random = np.random.default_rng(0)
    files = []
    for _ in range(PICTURES):
        out = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(out, "JPEG", quality=85)
        files.append(out.getvalue())
    return files


def jpeg(number: int) -> bytes:
    """A JPEG of 32 pixels. Each has other bytes, by a comment; encoding a million pictures would take longer than opening
    them.
    """
    comment = f"number {number}".encode()
    picture = _pictures()[number % PICTURES]
    return picture[:2] + _COMMENT + (len(comment) + 2).to_bytes(2, "big") + comment + picture[2:]


def make_images(folder: Path, source: str, count: int) -> Path:
    """Write images for one of FORMATS, unless they are there. Returns `images.root`."""
    root = folder / f"{source}-{count}"
    if not root.is_dir():
        partial = folder / f".{source}-{count}"
        partial.mkdir(parents=True, exist_ok=True)
        starts = range(0, count, PER_SHARD)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            jobs = [
                pool.submit(_WRITERS[source], partial, shard, range(start, min(start + PER_SHARD, count)))
                for shard, start in enumerate(starts)
            ]
            for job in jobs:
                job.result()
        partial.rename(root)
    return root


def _split(shard: int) -> str:
    return "val" if shard % HELD_OUT == HELD_OUT - 1 else "train"


def _files(numbers: range) -> Iterator[tuple[int, bytes]]:
    return ((number, jpeg(number)) for number in numbers)


def _write_folder(root: Path, shard: int, numbers: range) -> None:
    for label in range(CLASSES):
        (root / _split(shard) / str(label)).mkdir(parents=True, exist_ok=True)
    for number, data in _files(numbers):
        (root / _split(shard) / str(number % CLASSES) / f"{number:08}.jpg").write_bytes(data)


def _write_tar(root: Path, shard: int, numbers: range) -> None:
    with tarfile.open(root / f"{_split(shard)}-{shard:06}.tar", "w") as tar:
        for number, data in _files(numbers):
            for suffix, content in (("jpg", data), ("cls", b"%d" % (number % CLASSES))):
                member = tarfile.TarInfo(f"{number:08}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _write_parquet(root: Path, shard: int, numbers: range) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = [{"bytes": data, "path": f"{number:08}.jpg"} for number, data in _files(numbers)]
    table = pa.table({"image": images, "label": [number % CLASSES for number in numbers]})
    pq.write_table(table, root / f"{_split(shard)}-{shard:06}.parquet", row_group_size=2_000)


_WRITERS = {"folder": _write_folder, "webdataset": _write_tar, "parquet": _write_parquet}
