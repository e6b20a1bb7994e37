"""The files of a scan: what every entry of a source turned out to be, in memory-mapped Arrow files.

`scan.arrow` has the listing and the results of all entries. While entries are read, results are written in parts, so
that a first opening that is killed continues where it stopped.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.sources.arrow_file import info_of, read_arrow, with_info, write_arrow
from pipeline.data.sources.listing import SCHEMA

UNREAD, READ, RETRY = 0, 1, 2  # states of an entry; RETRY: read, but limits may be higher next time
BATCH = 65_536  # rows written at a time
RESULTS = pa.schema(
    [
        ("image", pa.uint64()),  # the 64 bits of its id; null: it has none
        ("reason", pa.string()),  # why it cannot be used; null: it can
        ("row", pa.int64()),  # in the pixel cache; -1: not stored
        ("state", pa.int8()),
    ]
)
ROWS = pa.schema([*SCHEMA, *RESULTS])
PART = pa.schema([SCHEMA.field(name) for name in ("key", "size", "time")] + list(RESULTS))


@dataclass(frozen=True)
class ScanInfo:
    """What is stored beside the rows.

    Attributes:
        token: different for every scan; tables name the scan they were made of.
        version: of the source, when it was listed.
        again: entries that are read again next time, since they have no stamp or may succeed with other limits.
        unstored: images that did not fit into the pixel cache.
    """

    token: str
    version: str | None
    again: int
    unstored: int


def new_token() -> str:
    return secrets.token_hex(8)


def stored_scan(folder: Path) -> tuple[pa.Table, ScanInfo] | None:
    """The last complete scan; None if there is none."""
    table = read_arrow(folder / "scan.arrow", ROWS)
    if table is None:
        return None
    try:
        return table, ScanInfo(**info_of(table.schema))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def write_scan(folder: Path, listing: pa.Table, results: Results, info: ScanInfo) -> None:
    """Write `scan.arrow` and delete the parts that it contains."""

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(listing), BATCH):
            some = listing.slice(start, BATCH).combine_chunks()
            columns = [some.column(field.name).combine_chunks() for field in SCHEMA]
            rows = np.arange(start, start + len(some))
            yield pa.RecordBatch.from_arrays([*map(_one_chunk, columns), *results.columns(rows)], schema=ROWS)

    write_arrow(folder / "scan.arrow", with_info(ROWS, asdict(info)), batches())
    for part in parts_of(folder):
        part.unlink(missing_ok=True)


def _one_chunk(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) and column.num_chunks else column


def parts_of(folder: Path) -> list[Path]:
    """Results of a scan that did not end, newest first."""
    return sorted((folder / "parts").glob("*.arrow"), reverse=True)


class Results:
    """Results of N entries.

    Attributes:
        image: [N] uint64.
        row: [N] int64.
        state: [N] int8; an entry that is READ or RETRY and has no reason is an image.
        reasons: by entry.
    """

    def __init__(self, count: int) -> None:
        self.image = np.zeros(count, np.uint64)
        self.row = np.full(count, -1, np.int64)
        self.state = np.zeros(count, np.int8)
        self.reasons: dict[int, str] = {}

    @property
    def is_image(self) -> np.ndarray:
        """[N] bool."""
        mask = self.state != UNREAD
        mask[np.fromiter(self.reasons, np.int64, len(self.reasons))] = False
        return mask

    def copy_from(self, table: pa.Table, rows: np.ndarray, to: np.ndarray) -> None:
        """Take rows [M] of a stored table as the results of the entries `to` [M]."""
        column = {name: table.column(name).combine_chunks() for name in RESULTS.names}
        self.image[to] = column["image"].fill_null(0).to_numpy(zero_copy_only=False)[rows]
        self.row[to] = column["row"].to_numpy(zero_copy_only=False)[rows]
        self.state[to] = column["state"].to_numpy(zero_copy_only=False)[rows]
        has_reason = pc.is_valid(column["reason"]).to_numpy(zero_copy_only=False)[rows]
        for at in np.flatnonzero(has_reason).tolist():
            self.reasons[int(to[at])] = column["reason"][int(rows[at])].as_py()

    def columns(self, rows: np.ndarray) -> list[pa.Array]:
        """The columns of RESULTS for some entries."""
        reasons = [self.reasons.get(row) for row in rows.tolist()]
        none = (self.state[rows] == UNREAD) | np.array([reason is not None for reason in reasons], bool)
        return [
            pa.array(self.image[rows], mask=none),
            pa.array(reasons, pa.string()),
            pa.array(self.row[rows]),
            pa.array(self.state[rows]),
        ]
