"""Scan a source: list it, read what is new or has changed, and keep the results for the next time.

Memory does not grow with the size of the images, and by some 60 bytes per entry with their number.
"""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from pipeline.data.columns import KeyColumn
from pipeline.data.pixel_cache import NOT_STORED, PixelCache, known_rows
from pipeline.data.scan_files import (
    PART,
    READ,
    RETRY,
    UNREAD,
    Results,
    ScanInfo,
    new_token,
    parts_of,
    stored_scan,
    write_scan,
)
from pipeline.data.scan_threads import Outcome, read_entries
from pipeline.data.sources import ImageSource
from pipeline.data.sources.arrow_file import read_arrow, write_arrow
from pipeline.data.sources.listing import SCHEMA
from pipeline.run.atomic_files import short_hash

PART_ROWS, PART_SECONDS = 16_384, 20.0  # results are on disk after so many entries, or so long


class SourceScan:
    """The entries of a source and what they are. Use it while the pixel cache is locked.

    Attributes:
        folder: of its files, within the cache of a transform.
        listing: the entries, with the columns of a listing.
        info: of the stored scan, if the source has not changed since; else None.
    """

    def __init__(self, source: ImageSource, pixels: PixelCache) -> None:
        self.source, self.pixels = source, pixels
        self.folder = pixels.folder / "sources" / short_hash(source.identifier())
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stored = stored_scan(self.folder)
        self._version = source.version()
        self.info: ScanInfo | None = None
        if self._stored and self._version is not None and self._stored[1].version == self._version:
            self.listing, self.info = self._stored
        else:
            self.listing = self._list()
            if self._stored and _same(self._stored[0], self.listing):
                self.listing, self.info = self._stored
        if self.info and not self._pixels_exist():
            self.info = None

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing to read, whatever is excluded."""
        info = self.info
        return bool(info and not info.again and not (info.unstored and self.pixels.has_room))

    def _list(self) -> pa.Table:
        """List the source into a file. Its pages need no memory."""
        path = self.folder / "listing.arrow"
        write_arrow(path, SCHEMA, self.source.listing(len(self._stored[0]) if self._stored else 0))
        listing = read_arrow(path, SCHEMA)
        assert listing is not None
        path.unlink()  # the memory map keeps it
        return listing

    def _pixels_exist(self) -> bool:
        """Whether the pixel cache still has the images that the stored scan names; it may have been deleted."""
        assert self._stored
        table = self._stored[0]
        rows = table.column("row").to_numpy()
        stored = rows != NOT_STORED
        images = table.column("image").fill_null(0).to_numpy()
        return bool(known_rows(self.pixels, images, rows)[stored].all())

    def results(self, skip: np.ndarray) -> tuple[Results, ScanInfo]:
        """Read what was not read before, and store the results.

        Args:
            skip: [N] bool; entries that are not needed.
        """
        results, known = self._known()
        if not self.pixels.has_room:
            wanted = results.state != READ
        else:
            wanted = (results.state != READ) | (results.is_image & (results.row == NOT_STORED))
        todo = np.flatnonzero(wanted & ~skip)
        if len(todo) or not self.info:
            self._read(todo, results)
            stamped = known | (self._version is not None)
            again = int((((results.state == RETRY) | ~stamped) & ~skip).sum())
            unstored = int((results.is_image & (results.row == NOT_STORED) & ~skip).sum())
            self.info = ScanInfo(new_token(), self._version, again, unstored)
            write_scan(self.folder, self.listing, results, self.info)
        return results, self.info

    def _known(self) -> tuple[Results, np.ndarray]:
        """Results of entries that have not changed since they were read, and [N] bool: whether an entry has a stamp."""
        results = Results(len(self.listing))
        size, moment = (self.listing.column(name) for name in ("size", "time"))
        stamped = pc.is_valid(size).to_numpy()
        sizes, times = size.fill_null(0).to_numpy(), moment.fill_null(0).to_numpy()
        sources = [read_arrow(path, PART) for path in reversed(parts_of(self.folder))]
        if self._stored:
            sources.insert(0, self._stored[0])
        for table in filter(None, sources):  # newer results replace older ones
            found = pc.index_in(self.listing.column("key"), value_set=table.column("key")).to_numpy(
                zero_copy_only=False
            )
            here = np.flatnonzero(~np.isnan(found)) if found.dtype.kind == "f" else np.arange(len(found))
            rows = found[here].astype(np.int64)
            same = stamped[here]
            for name, values in (("size", sizes), ("time", times)):
                same &= table.column(name).fill_null(0).to_numpy()[rows] == values[here]
            same &= table.column("state").to_numpy()[rows] != UNREAD
            results.copy_from(table, rows[same], here[same])
        stored = results.row != NOT_STORED
        lost = stored & ~known_rows(self.pixels, results.image, results.row)
        results.state[lost], results.row[lost] = UNREAD, NOT_STORED
        return results, stamped

    def _read(self, todo: np.ndarray, results: Results) -> None:
        keys = KeyColumn(self.listing.column("key"))
        units = self.listing.column("unit").fill_null(-1).to_numpy()
        done: list[int] = []
        last = time.monotonic()
        bar = tqdm(desc="images", total=len(todo), unit="file", leave=False, disable=None, delay=2)
        with bar:
            try:
                for outcomes in read_entries(self.source, keys, units, todo, self.pixels):
                    for outcome in outcomes:
                        self._take(outcome, results)
                        done.append(outcome.entry)
                    bar.update(len(outcomes))
                    if len(done) >= PART_ROWS or time.monotonic() - last > PART_SECONDS:
                        self._write_part(done, results)
                        done, last = [], time.monotonic()
            finally:  # also after an error or Ctrl-C
                if len(done) < len(todo):
                    self._write_part(done, results)
                else:
                    self.pixels.commit()

    def _take(self, outcome: Outcome, results: Results) -> None:
        entry = outcome.entry
        results.reasons.pop(entry, None)
        results.state[entry] = RETRY if outcome.retry else READ
        results.row[entry] = NOT_STORED
        if outcome.reason:
            results.reasons[entry] = outcome.reason
            return
        results.image[entry] = outcome.image
        if outcome.pixels is None:
            results.row[entry] = self.pixels.row_of(outcome.image)
        else:
            results.row[entry] = self.pixels.add(outcome.image, outcome.pixels)

    def _write_part(self, done: list[int], results: Results) -> None:
        self.pixels.commit()
        if not done:
            return
        rows = np.array(sorted(done))
        some = self.listing.select(["key", "size", "time"]).take(rows).combine_chunks()
        columns = [some.column(name).chunk(0) for name in ("key", "size", "time")]
        batch = pa.RecordBatch.from_arrays([*columns, *results.columns(rows)], schema=PART)
        number = 1 + max((int(path.stem) for path in parts_of(self.folder)), default=0)
        write_arrow(self.folder / "parts" / f"{number:08}.arrow", PART, [batch])


def _same(stored: pa.Table, listing: pa.Table) -> bool:
    """Whether a source lists what it listed before."""
    return len(stored) == len(listing) and all(
        stored.column(field.name).equals(listing.column(field.name)) for field in SCHEMA
    )
