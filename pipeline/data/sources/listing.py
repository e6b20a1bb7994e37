"""Listings: the entries of a source as Arrow columns, with stamps that show whether an image has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.data.sources.base import SPLITS, Entry

if TYPE_CHECKING:
    from pipeline.data.sources.base import ImageSource

BATCH = 65_536  # entries that are Python objects at the same time

SCHEMA = pa.schema(
    [
        ("key", pa.large_binary()),  # as pipeline.data.columns.encode_key returns it
        ("split", pa.int8()),  # position in SPLITS; null: the content decides
        ("problem", pa.string()),  # null: none
        ("outside", pa.string()),  # null: it is not left out
        ("size", pa.int64()),  # the stamp: size and time; null: there is none
        ("time", pa.int64()),
        ("unit", pa.int32()),  # consecutive entries of the same unit are read by one thread; null: any thread
    ]
)


def batch_of(
    keys: pa.Array,
    *,
    split: pa.Array | None = None,
    problem: pa.Array | None = None,
    outside: pa.Array | None = None,
    size: pa.Array | None = None,
    time: pa.Array | None = None,
    unit: pa.Array | None = None,
) -> pa.RecordBatch:
    """A batch of a listing; columns that are left out are null."""
    columns = [keys, split, problem, outside, size, time, unit]
    filled = [
        pa.nulls(len(keys), field.type) if column is None else column.cast(field.type)
        for field, column in zip(SCHEMA, columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(filled, schema=SCHEMA)


def key_array(keys: Sequence[str]) -> pa.Array:
    """Keys as they are stored."""
    return pa.array([key.encode("utf-8", "surrogatepass") for key in keys], pa.large_binary())


def split_array(splits: Sequence[str | None]) -> pa.Array:
    """Names of splits as positions in SPLITS."""
    number = {name: code for code, name in enumerate(SPLITS)}
    return pa.array([None if split is None else number[split] for split in splits], pa.int8())


def constant(value: object, count: int, kind: pa.DataType) -> pa.Array:
    """The same value `count` times."""
    return pa.nulls(count, kind) if value is None else pa.repeat(pa.scalar(value, kind), count)


def listed_entries(source: ImageSource) -> Iterator[pa.RecordBatch]:
    """The entries of a source that has `entries` and `stamp`."""
    entries = iter(source.entries())
    with ThreadPoolExecutor() as pool:
        while some := list(islice(entries, BATCH)):
            stamps = list(pool.map(lambda chunk: [_stamp(source, entry) for entry in chunk], _chunks(some)))
            pairs = [stamp for chunk in stamps for stamp in chunk]
            yield batch_of(
                key_array([entry.key for entry in some]),
                split=split_array([entry.split for entry in some]),
                problem=pa.array([entry.problem or None for entry in some], pa.string()),
                outside=pa.array([entry.outside or None for entry in some], pa.string()),
                size=pa.array([pair and pair[0] for pair in pairs], pa.int64()),
                time=pa.array([pair and pair[1] for pair in pairs], pa.int64()),
            )


def entries_of(batch: pa.RecordBatch) -> list[Entry]:
    """The entries of a batch."""
    return [
        Entry(
            row["key"].decode("utf-8", "surrogatepass"),
            None if row["split"] is None else SPLITS[row["split"]],
            row["problem"] or "",
            row["outside"] or "",
        )
        for row in batch.to_pylist()
    ]


def _chunks(entries: list[Entry]) -> list[list[Entry]]:
    return [entries[start : start + 256] for start in range(0, len(entries), 256)]


def _stamp(source: ImageSource, entry: Entry) -> tuple[int, int] | None:
    if entry.problem:
        return None
    try:
        return source.stamp(entry.key)
    except OSError:
        return None  # reading will say why


def stamp_number(text: str) -> int:
    """A text that identifies a version of a file, such as an ETag, as a number for the column `time`."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big", signed=True)


def unit_array(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers.astype(np.int32))
