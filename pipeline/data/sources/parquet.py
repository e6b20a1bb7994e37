"""The image source `parquet`: a column of image files as bytes, or Hugging Face's struct of bytes and path."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.data.decode import GONE, BadImage
from pipeline.data.sources.listing import batch_of
from pipeline.data.sources.shards import ShardSource, label_info, stamps
from pipeline.data.sources.storage import LocalStorage, StoredFile, reading_shard
from pipeline.errors import UserError

ROWS = 64  # images that are read at a time
KEPT_BYTES = 64 * 2**20  # of the row groups that are kept for images read one by one


class ParquetSource(ShardSource):
    """Keys are <file>#<row>."""

    suffix = ".parquet"
    schema = pa.schema([("label", pa.string())])

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._groups: OrderedDict[tuple[int, int], pa.ChunkedArray] = OrderedDict()
        self._kept = threading.Lock()

    @property
    def settings(self) -> str:
        return json.dumps([self.config.image_column, self.config.label_column])

    @contextmanager
    def _opened(self, file: StoredFile) -> Iterator[pq.ParquetFile]:
        local = isinstance(self.storage, LocalStorage)
        with (
            pa.memory_map(file.path) if local else pa.PythonFile(self.storage.open(file), "r") as stream,
            pq.ParquetFile(stream, pre_buffer=False, buffer_size=2**20, page_checksum_verification=True) as opened,
        ):
            yield opened

    def make_catalog(self, file: StoredFile) -> tuple[pa.Table, dict[str, object]]:
        with reading_shard(file, "Parquet file"), self._opened(file) as opened:
            column = self._column(opened.schema_arrow, file)
            groups = [opened.metadata.row_group(number) for number in range(opened.num_row_groups)]
            labels, names = self._labels(opened)
        sizes = [
            next(part.total_uncompressed_size for part in _parts(group) if part.path_in_schema == column)
            for group in groups
        ]
        info: dict[str, object] = {
            "column": column,
            "rows": [group.num_rows for group in groups],
            "bytes": sizes,
            "labels": names or label_info(labels),
            "ordered": bool(names),
        }
        return pa.table([labels], schema=self.schema), info

    def _column(self, schema: pa.Schema, file: StoredFile) -> str:
        """The column of bytes.

        Raises:
            UserError: there is none of that name, or it has something else.
        """
        name = self.config.image_column
        if name not in schema.names:
            raise UserError(
                f"{file.path}: there is no column '{name}'; its columns are {', '.join(schema.names)}; set images.image_column"
            )
        kind = schema.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            name, kind = f"{name}.bytes", kind.field("bytes").type
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
            raise UserError(
                f"{file.path}: the column '{self.config.image_column}' has {kind}, not the bytes of image files; set "
                "images.image_column to one that has"
            )
        return name

    def _labels(self, opened: pq.ParquetFile) -> tuple[pa.Array, list[str]]:
        """The label of each row, and the class names in the order of their numbers, if the file has these."""
        name, schema = self.config.label_column, opened.schema_arrow
        if name not in schema.names:
            return pa.nulls(opened.metadata.num_rows, pa.string()), []
        column = pa.chunked_array(
            [batch.column(0) for batch in opened.iter_batches(columns=[name])], schema.field(name).type
        )
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        names = features.get(name, {}).get("names") if isinstance(features.get(name), dict) else None
        if pa.types.is_integer(column.type):
            column = pc.if_else(pc.less(column, 0), None, column)  # -1: not labelled
            if names:
                table = pa.array([*names], pa.string())
                column = pc.take(table, pc.if_else(pc.less(column, len(names)), column, None))
        return column.cast(pa.string()).combine_chunks(), list(names or [])

    def class_names(self) -> tuple[str, ...] | None:
        _, info = self.catalog(0)
        return tuple(info["labels"]) if info["ordered"] else super().class_names()

    def shard_entries(self, number: int, first_unit: int) -> tuple[list[pa.RecordBatch], int]:
        """A row group is a unit: it is decoded once."""
        file, name = self.files[number], self.names[number].encode("utf-8", "surrogatepass")
        catalog, info = self.catalog(number)
        counts = info["rows"]
        units = np.repeat(np.arange(first_unit, first_unit + len(counts)), counts)
        batches = []
        for start in range(0, len(catalog), 65_536):
            rows = np.arange(start, min(start + 65_536, len(catalog)))
            keys = pa.array([b"%s#%d" % (name, row) for row in rows.tolist()], pa.large_binary())
            sizes = np.full(len(rows), file.size)
            batches.append(batch_of(keys, unit=pa.array(units[rows]), **stamps(sizes, file)))
        return batches, len(counts)

    def find(self, key: str) -> tuple[int, int]:
        number, row = self.shard_of(key, "#")
        return number, int(row)

    def _place(self, key: str) -> tuple[int, int, int] | None:
        """Shard, row group, and row within it; None if there is no such row any more."""
        try:
            number, row = self.find(key)
        except KeyError:
            return None
        ends = self._ends(number)
        group = int(np.searchsorted(ends, row, side="right"))
        return (number, group, row - (int(ends[group - 1]) if group else 0)) if group < len(ends) else None

    @lru_cache(maxsize=1024)  # noqa: B019  there is one source
    def _ends(self, number: int) -> np.ndarray:
        """The row after each row group."""
        return np.cumsum(self.catalog(number)[1]["rows"])

    def read(self, key: str, max_bytes: int) -> bytes:
        if (place := self._place(key)) is None:
            raise BadImage(GONE)
        number, group, row = place
        if self.catalog(number)[1]["bytes"][group] > KEPT_BYTES:
            found = next(iter(self._rows(number, group, [row])))
        else:
            found = self._group(number, group)[row].as_py()
        return _checked(found, max_bytes)

    def read_many(self, keys: Sequence[str], max_bytes: int) -> Iterator[bytes | BadImage]:
        for at, places in groupby(map(self._place, keys), key=lambda place: place[:2] if place else None):
            wanted = list(places)
            if at is None:
                yield from [BadImage(GONE)] * len(wanted)
                continue
            (number, group), rows = at, [place[2] for place in wanted if place]
            found = 0
            try:
                for data in self._rows(number, group, rows):
                    try:
                        yield _checked(data, max_bytes)
                    except BadImage as bad:
                        yield bad
                    found += 1
            except BadImage as bad:  # the row group is damaged from here on
                yield from [bad] * (len(rows) - found)

    def _rows(self, number: int, group: int, rows: list[int]) -> Iterator[bytes | None]:
        """Some rows of a row group, which must be sorted, in the order of the file.

        Raises:
            BadImage: the row group is damaged.
        """
        start, place = 0, 0
        for column in self._batches(number, group):
            while place < len(rows) and rows[place] < start + len(column):
                yield column[rows[place] - start].as_py()
                place += 1
            start += len(column)
            if place == len(rows):
                return
        raise BadImage(f"unreadable: {self.names[number]} has changed")

    def _batches(self, number: int, group: int) -> Iterator[pa.Array]:
        file, column = self.files[number], self.catalog(number)[1]["column"]
        try:
            with self._opened(file) as opened:
                for batch in opened.iter_batches(ROWS, [group], [column], use_threads=False):
                    data = batch.column(0)
                    yield data.field("bytes") if pa.types.is_struct(data.type) else data
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadImage(f"unreadable: a damaged row group of {self.names[number]}: {reason}") from error

    def _group(self, number: int, group: int) -> pa.ChunkedArray:
        with self._kept:
            if (found := self._groups.get((number, group))) is not None:
                self._groups.move_to_end((number, group))
                return found
        found = pa.chunked_array(list(self._batches(number, group)))
        with self._kept:
            self._groups[number, group] = found
            while sum(column.nbytes for column in self._groups.values()) > KEPT_BYTES and len(self._groups) > 1:
                self._groups.popitem(last=False)
        return found


def _parts(group: pq.RowGroupMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    return (group.column(number) for number in range(group.num_columns))


def _checked(data: bytes | None, max_bytes: int) -> bytes:
    if data is None:
        raise BadImage("empty: the row has no image")
    if len(data) > max_bytes:
        raise BadImage(
            f"too large: {len(data) / 2**20:.0f} MiB, more than images.max_megabytes = {max_bytes / 2**20:g}"
        )
    return data
