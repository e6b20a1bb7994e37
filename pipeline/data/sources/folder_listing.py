"""The files below a folder as a listing; of large folders by several processes."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.sources.base import SPLITS
from pipeline.data.sources.folder_worker import LINKED_FOLDER, NO_FILE, UNKNOWN, encoded, list_files
from pipeline.data.sources.listing import SCHEMA, batch_of
from pipeline.errors import UserError

PROCESSES_FROM = 50_000  # files; below it one process is faster
PROBLEMS = {
    NO_FILE: "not a regular file",
    LINKED_FOLDER: "a link to a folder, which is not followed; replace it by the folder",
}


class _Columns(NamedTuple):
    keys: pa.Array  # large_binary
    sizes: np.ndarray
    times: np.ndarray
    kinds: np.ndarray


def folder_batches(root: str, expected: int, folders: set[str]) -> Iterator[pa.RecordBatch]:
    """The files below a folder.

    Args:
        root: its absolute path, with a separator at the end.
        expected: number of files when they were last listed.
        folders: names of splits that are folders below the root.
    """
    parts = _by_processes(root) if expected >= PROCESSES_FROM else _here(root)
    for columns in parts:
        if len(columns.keys):
            yield _batch(columns, folders)


def _here(root: str) -> Iterator[_Columns]:
    for files in list_files(root):
        data, lengths = encoded(files.keys)
        sizes, times, kinds = np.frombuffer(files.sizes, np.int64), np.frombuffer(files.times, np.int64), files.kinds
        yield _columns(data, np.frombuffer(lengths, np.int64), sizes, times, np.frombuffer(kinds, np.uint8))


def _by_processes(root: str) -> Iterator[_Columns]:
    """As `_here`. Each process writes a temporary file, so that none waits for another to be read."""
    shares = min(8, os.cpu_count() or 1)
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    script = str(Path(__file__).with_name("folder_worker.py"))
    with ExitStack() as stack:
        outputs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(shares)]
        started = [
            subprocess.Popen(
                [sys.executable, "-S", script, root, str(share), str(shares)], stdout=output, env=environment
            )
            for share, output in enumerate(outputs)
        ]
        try:
            for process, output in zip(started, outputs, strict=True):
                if code := process.wait():
                    raise UserError(f"{root}: the process that lists it ended with code {code}; run the command again")
                output.seek(0)
                yield from _received(output)
        finally:
            for process in started:
                process.kill()
                process.wait()


def _received(file: IO[bytes]) -> Iterator[_Columns]:
    read = file.read
    while len(header := read(16)) == 16:
        count, size = struct.unpack("<qq", header)
        lengths, sizes, times = (np.frombuffer(read(8 * count), np.int64) for _ in range(3))
        kinds = np.frombuffer(read(count), np.uint8)
        yield _columns(read(size), lengths, sizes, times, kinds)


def _columns(data: bytes, lengths: np.ndarray, sizes: np.ndarray, times: np.ndarray, kinds: np.ndarray) -> _Columns:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    keys = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(lengths), buffers)
    return _Columns(keys, sizes, times, kinds)


def _batch(columns: _Columns, folders: set[str]) -> pa.RecordBatch:
    """The split is the top folder's name; without val/ and test/ the content decides."""
    split, outside = split_columns(columns.keys, folders)
    unknown = columns.sizes == UNKNOWN
    return batch_of(
        columns.keys,
        split=split,
        problem=_problems(columns.kinds),
        outside=outside,
        size=pa.array(columns.sizes, mask=unknown),
        time=pa.array(columns.times, mask=unknown),
    )


def split_columns(keys: pa.Array, folders: set[str]) -> tuple[pa.Array, pa.Array | None]:
    """The columns `split` and `outside` of files, by the folders of the splits that there are.

    Files outside val/ and test/ are training images if there is no train/; otherwise they are left out.
    """
    count = len(keys)
    within = {name: _starts_with(keys, f"{name}/".encode()) for name in sorted(folders)}
    inside = np.logical_or.reduce([np.zeros(count, bool), *within.values()])
    split, none = np.full(count, SPLITS.index("train"), np.int8), np.zeros(count, bool)
    if not folders & {"val", "test"}:
        none[inside] = True
    for name, mask in within.items():
        split[mask] = SPLITS.index(name)
    outside = None
    if "train" in folders:
        none[~inside] = True
        reason = f"not in {', '.join(f'{folder}/' for folder in sorted(folders))}"
        outside = pc.if_else(pa.array(inside), pa.scalar(None, pa.string()), reason)
    elif not folders:
        none[:] = True
    return pa.array(split, mask=none), outside


def _problems(kinds: np.ndarray) -> pa.Array:
    if not kinds.any():
        return pa.nulls(len(kinds), SCHEMA.field("problem").type)
    return pa.array([PROBLEMS.get(kind) for kind in kinds.tolist()], pa.string())


def _starts_with(keys: pa.Array, prefix: bytes) -> np.ndarray:
    return pc.starts_with(keys, prefix).to_numpy(zero_copy_only=False)
