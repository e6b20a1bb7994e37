"""The image table as memory-mapped Arrow files: `<settings>.table.arrow` and, for files left out, `<settings>.skipped.arrow`."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import ImagesConfig
from pipeline.data.columns import IdColumn, KeyColumn, SplitColumn, decode_key
from pipeline.data.scan_files import Results
from pipeline.data.sources import SPLITS
from pipeline.data.sources.arrow_file import info_of, read_arrow, with_info, write_arrow
from pipeline.run.atomic_files import short_hash

BATCH = 2**20  # rows of a batch; a column of one batch is used where it lies in the file
TABLE = pa.schema([("key", pa.large_binary()), ("image", pa.uint64()), ("split", pa.int8()), ("row", pa.int64())])
SKIPPED = pa.schema([("key", pa.large_binary()), ("reason", pa.large_string())])


@dataclass(frozen=True)
class Skipped:
    path: str
    reason: str


class SkippedFiles(Sequence[Skipped]):
    """Files left out, by path; each is made when it is asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Skipped: ...

    @overload
    def __getitem__(self, index: slice) -> list[Skipped]: ...

    def __getitem__(self, index: int | slice) -> Skipped | list[Skipped]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(index)
        return Skipped(decode_key(self._table["key"][row].as_py()), self._table["reason"][row].as_py())


class Columns(NamedTuple):
    """The columns of a table. `rows` [N] are those of the pixel cache; `listed` is where its images.csv may be kept."""

    ids: IdColumn
    keys: KeyColumn
    splits: SplitColumn
    rows: np.ndarray
    skipped: SkippedFiles
    listed: Path


class TableFile:
    """The table of a source under the settings that decide which images are used.

    Args:
        folder: of the source's scan.
    """

    def __init__(self, folder: Path, config: ImagesConfig) -> None:
        settings = short_hash(json.dumps([config.exclude, config.heldout_fraction]))
        self._table, self._skipped = (folder / f"{settings}.{name}.arrow" for name in ("table", "skipped"))
        self._listed = folder / f"{settings}.csv"

    def read(self, token: str) -> Columns | None:
        """The table that was made of the scan with this token; None if there is none."""
        table, skipped = read_arrow(self._table, TABLE), read_arrow(self._skipped, SKIPPED)
        if table is None or skipped is None:
            return None
        if not info_of(table.schema).get("scan") == info_of(skipped.schema).get("scan") == token:
            return None
        image, split, row = (table.column(name) for name in ("image", "split", "row"))
        return Columns(
            IdColumn(_numbers(image)),
            KeyColumn(table.column("key")),
            SplitColumn(_numbers(split)),
            _numbers(row),
            SkippedFiles(skipped),
            self._listed,
        )

    def write(self, token: str, listing: pa.Table, choice: Choice) -> None:
        info: dict[str, object] = {"scan": token}
        keys = listing.column("key")

        def table() -> Iterator[pa.RecordBatch]:
            for some in _pieces(choice.used):
                columns = [keys.take(some).combine_chunks(), choice.image[some], choice.split[some], choice.row[some]]
                yield pa.RecordBatch.from_arrays([_array(column) for column in columns], schema=TABLE)

        def skipped() -> Iterator[pa.RecordBatch]:
            for some in _pieces(choice.skipped):
                reasons = pa.array([choice.reason(entry) for entry in some.tolist()], pa.large_string())
                yield pa.RecordBatch.from_arrays([_array(keys.take(some).combine_chunks()), reasons], schema=SKIPPED)

        self._listed.unlink(missing_ok=True)
        write_arrow(self._skipped, with_info(SKIPPED, info), skipped())
        write_arrow(self._table, with_info(TABLE, info), table())


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return column.chunk(0).to_numpy() if column.num_chunks == 1 else column.to_numpy()


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _array(column: object) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks else pa.array([], column.type)
    return column if isinstance(column, pa.Array) else pa.array(column)


class Exclusion:
    """The entries that a configuration leaves out before they are read.

    Attributes:
        glob: [N] int16, the number of the glob of `images.exclude` that an entry matches; -1: none.
        skip: [N] bool: excluded, or known not to be an image.
    """

    def __init__(self, listing: pa.Table, globs: Sequence[str]) -> None:
        self._globs, self._listing = globs, listing
        self.glob = np.full(len(listing), -1, np.int16)
        if globs:
            tests = [re.compile(fnmatch.translate(glob)).match for glob in globs]
            for entry, key in enumerate(KeyColumn(listing.column("key"))):
                self.glob[entry] = _first_match(tests, key)
        self.problem = pc.is_valid(listing.column("problem")).to_numpy()
        self.skip = (self.glob >= 0) | self.problem

    def reason(self, entry: int) -> str:
        """Why an entry of `skip` is left out."""
        if self.glob[entry] >= 0:
            return f"excluded by images.exclude: {self._globs[self.glob[entry]]}"
        return str(self._listing["problem"][entry].as_py())


def _first_match(tests: Iterable[Callable[[str], object]], key: str) -> int:
    name = key.rsplit("/", 1)[-1]
    return next((number for number, test in enumerate(tests) if test(key) or test(name)), -1)


class Choice:
    """Which entries are used, and why the others are not.

    Of several entries with the same content the first is kept, test images before training images.

    Attributes:
        used: [n] entries, sorted by image id.
        skipped: [m] entries, sorted by key.
        image, split, row: [N] of all entries: 64 bits of the id, position in SPLITS, row of the pixel cache.
    """

    def __init__(self, listing: pa.Table, results: Results, excluded: Exclusion, heldout_fraction: float) -> None:
        self._listing, self._results, self._excluded = listing, results, excluded
        self.image, self.row = results.image, results.row
        self._own_split = listing.column("split").fill_null(-1).to_numpy()
        low = (self.image & np.uint64(0xFFFFFFFF)).astype(np.float64)
        by_content = np.where(low < heldout_fraction * 2**32, SPLITS.index("val"), SPLITS.index("train"))
        self.split = np.where(self._own_split >= 0, self._own_split, by_content).astype(np.int8)
        self._outside = pc.is_valid(listing.column("outside")).to_numpy()
        images = np.flatnonzero(results.is_image & ~excluded.skip)
        images = images[self.image[images].argsort(kind="stable")]
        self._copy_of: dict[int, int] = {}
        kept = self._without_copies(images)
        self.used = images[kept]
        left = np.ones(len(listing), bool)
        left[self.used] = False
        skipped = np.flatnonzero(left)
        self.skipped = skipped[_key_order(listing, skipped)]

    def _without_copies(self, images: np.ndarray) -> np.ndarray:
        """[M] bool: which entries [M], sorted by id, are used."""
        ids = self.image[images]
        first = np.append(True, ids[1:] != ids[:-1])[: len(ids)]
        single = first & np.append(first[1:], True)[: len(ids)]
        kept = single & ~self._outside[images]
        starts = np.flatnonzero(first & ~single)
        ends = np.searchsorted(ids, ids[starts], side="right")
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            group = sorted(range(start, end), key=lambda at: self._priority(int(images[at])))
            best = None
            for at in group:
                if best is not None:
                    self._copy_of[int(images[at])] = int(images[best])
                elif not self._outside[images[at]]:
                    best = at
                    kept[at] = True
        return kept

    def _priority(self, entry: int) -> tuple[int, bytes]:
        split = int(self._own_split[entry])
        return split if split >= 0 else len(SPLITS), self._listing["key"][entry].as_py()

    def reason(self, entry: int) -> str:
        """Why an entry is not used."""
        if self._excluded.skip[entry]:
            return self._excluded.reason(entry)
        if (reason := self._results.reasons.get(entry)) is not None:
            return reason
        if (best := self._copy_of.get(entry)) is not None:
            return f"duplicate: same content as {decode_key(self._listing['key'][best].as_py())}"
        return str(self._listing["outside"][entry].as_py())


def _key_order(listing: pa.Table, entries: np.ndarray) -> np.ndarray:
    keys = listing.column("key").take(entries)
    return pc.sort_indices(keys).to_numpy() if len(entries) else np.empty(0, np.int64)
