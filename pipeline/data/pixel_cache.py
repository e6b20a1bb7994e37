"""The decoded images: transformed to uint8, in one file that all stages and runs share.

The cache is below the runs folder, with one sub-folder per transform. It is content-addressed and only grows; it can be
deleted at any time and is then computed again. `images.u8` has the pixels, `ids.u64` the 64 bits of each row's image id.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from pipeline.config import ImagesConfig
from pipeline.data.columns import IdColumn, KeyColumn
from pipeline.data.decode import BadImage
from pipeline.data.decode_limits import DECODE_SECONDS, Limits
from pipeline.data.decoder_pool import shared_decoders
from pipeline.data.resize import Transform
from pipeline.data.sources.base import ImageSource, read_verified
from pipeline.errors import UserError

NOT_STORED = -1  # instead of a row
MERGE_AT = 65_536  # new ids that are looked up in a dictionary, before they are merged into the sorted array
EARLIER_FILES = ("index.json", "pixels.u8")  # of versions before 0.2


class PixelCache:
    """Maps content id to a row of one [rows, size, size, 3] uint8 file. Add rows inside `with`; read at any time.

    `add` and `commit` are for one thread; `row_of` is thread-safe.
    """

    def __init__(
        self, folder: Path, config: ImagesConfig, transform: Transform, *, limit_mb: float, decode_seconds: float
    ) -> None:
        self.folder = folder
        self.config = config
        self.transform = transform
        self.limits = Limits(config.max_pixels, decode_seconds)
        self.shape = (transform.size, transform.size, 3)
        self.image_bytes = int(np.prod(self.shape))
        self._capacity = int(limit_mb * 2**20) // self.image_bytes  # images
        self._lock = FileLock(folder / "lock")
        self._load()

    @classmethod
    def open(
        cls,
        cache: Path,
        config: ImagesConfig,
        *,
        limit_mb: float = 4096,
        decode_seconds: float = DECODE_SECONDS,
        transform: Transform | None = None,
    ) -> PixelCache:
        """The cache of a transform; of `Transform.of(config)` if none is given."""
        transform = transform or Transform.of(config)
        limits = f"{config.max_pixels}-{config.max_megabytes}"
        folder = cache / "pixels" / f"{transform.key}-{limits}"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, config, transform, limit_mb=limit_mb, decode_seconds=decode_seconds)

    def _load(self) -> None:
        try:
            ids = np.fromfile(self.folder / "ids.u64", dtype="<u8")
            rows = min(len(ids), (self.folder / "images.u8").stat().st_size // self.image_bytes)
        except OSError:
            ids, rows = np.empty(0, "<u8"), 0
        self.ids = ids[:rows]  # [rows], in the order of the file
        self._stored = rows
        order = self.ids.argsort(kind="stable")
        self._sorted = (self.ids[order], order)
        self._recent: dict[int, int] = {}
        self._fresh: list[int] = []  # ids of rows that are not committed yet

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes, which read single images: without the index, whose rows `Pixels` has, and locks."""
        kept = ("config", "transform", "limits", "shape", "image_bytes")
        return {name: self.__dict__[name] for name in kept} | {"folder": self.folder.absolute()}

    def __enter__(self) -> PixelCache:
        self._lock.acquire()
        for name in EARLIER_FILES:
            (self.folder / name).unlink(missing_ok=True)
        self._load()  # another process may have added images meanwhile
        self._pixels = os.open(self.folder / "images.u8", os.O_RDWR | os.O_CREAT)
        self._ids = os.open(self.folder / "ids.u64", os.O_RDWR | os.O_CREAT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.commit()
        finally:
            os.close(self._pixels)
            os.close(self._ids)
            self._lock.release()

    def __len__(self) -> int:
        """Number of images stored."""
        return self._stored + len(self._fresh)

    @property
    def has_room(self) -> bool:
        """Whether another image fits below the limit."""
        return len(self) < self._capacity

    def row_of(self, image: int) -> int:
        """The row of an image, by the 64 bits of its id, or NOT_STORED. Thread-safe."""
        row = self._recent.get(image)
        if row is None:
            ids, rows = self._sorted
            at = int(np.searchsorted(ids, np.uint64(image)))
            row = int(rows[at]) if at < len(ids) and int(ids[at]) == image else NOT_STORED
        return row

    def add(self, image: int, pixels: np.ndarray) -> int:
        """Store an image and return its row; NOT_STORED if it does not fit below the limit."""
        row = self.row_of(image)
        if row == NOT_STORED and self.has_room:
            row = len(self)
            os.pwrite(self._pixels, pixels.tobytes(), row * self.image_bytes)
            self._recent[image] = row
            self._fresh.append(image)
        return row

    def commit(self) -> None:
        """Make what was added durable."""
        if not self._fresh:
            return
        os.fsync(self._pixels)  # an id must never name a row that is not on disk
        os.pwrite(self._ids, np.array(self._fresh, "<u8").tobytes(), 8 * self._stored)
        os.fsync(self._ids)
        self._stored += len(self._fresh)
        self._fresh = []
        if len(self._recent) >= max(MERGE_AT, len(self._sorted[0]) // 8):
            self._merge()

    def _merge(self) -> None:
        ids, rows = self._sorted
        ids = np.concatenate([ids, np.fromiter(self._recent, "<u8", len(self._recent))])
        rows = np.concatenate([rows, np.fromiter(self._recent.values(), np.int64, len(self._recent))])
        order = ids.argsort(kind="stable")
        self._sorted = (ids[order], rows[order])
        self._recent = {}

    def reader(self, source: ImageSource, ids: IdColumn, keys: KeyColumn, rows: np.ndarray) -> Pixels:
        """Pixels of the images with these ids [N], keys [N] and rows [N] of the cache, by row number of the table."""
        return Pixels(self, source, ids, keys, rows)


class Pixels:
    """uint8 images [N, size, size, 3] of a table, by row number; images that did not fit into the cache are decoded again."""

    def __init__(
        self, cache: PixelCache, source: ImageSource, ids: IdColumn, keys: KeyColumn, rows: np.ndarray
    ) -> None:
        self._cache, self._source, self._ids, self._keys, self._row = cache, source, ids, keys, rows
        self._map = self._open_map()

    def _open_map(self) -> np.memmap[Any, Any] | None:
        path, cache = self._cache.folder / "images.u8", self._cache
        stored = path.stat().st_size // cache.image_bytes
        return np.memmap(path, np.uint8, "r", shape=(stored, *cache.shape)) if stored else None

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes: each opens the map itself."""
        return self.__dict__ | {"_map": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        try:
            self._map = self._open_map()
        except FileNotFoundError as error:
            raise UserError(
                f"{error.filename}: no such file; put the folder of runs (`runs`) into a file system that all nodes mount "
                "at the same path, or use SET=runtime.engine=local"
            ) from None

    def __len__(self) -> int:
        return len(self._row)

    def batch(self, rows: Tensor) -> Tensor:
        """rows [B] to uint8 [B, size, size, 3].

        Raises:
            UserError: an image that is read again is gone, or has changed since it was listed.
        """
        where = self._row[rows.numpy()]
        if self._map is not None and (where >= 0).all():
            return torch.from_numpy(self._map[where])
        return torch.from_numpy(np.stack([self._one(int(row)) for row in rows]))

    def _one(self, row: int) -> np.ndarray:
        if self._row[row] >= 0 and self._map is not None:
            return np.asarray(self._map[self._row[row]])
        cache, key = self._cache, self._keys[row]
        try:
            data = read_verified(self._source, key, self._ids[row], cache.config.max_megabytes * 2**20)
            return shared_decoders().pixels(data, cache.transform, cache.limits)
        except BadImage as bad:
            raise UserError(
                f"{self._source.place}/{key}: {bad}; it was usable when the images were listed; restore it"
            ) from bad


def known_rows(cache: PixelCache, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[N] bool: whether the cache's rows [N] really hold the images with these 64-bit ids [N]."""
    inside = (rows >= 0) & (rows < len(cache.ids))
    found = np.zeros(len(rows), bool)
    found[inside] = cache.ids[rows[inside]] == images[inside]
    return found
