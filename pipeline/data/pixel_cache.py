"""The decoded images: transformed to uint8, in one memory map that all stages and runs share.

The cache is below the runs folder, with one sub-folder per transform. It is content-addressed and only grows; it can be
deleted at any time and is then computed again.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from pipeline.config import ImagesConfig
from pipeline.data.decode import BadImage, TooCostly, TooSlow
from pipeline.data.decode_limits import DECODE_SECONDS, Limits
from pipeline.data.decoder_pool import shared_decoders
from pipeline.data.resize import Transform
from pipeline.data.sources.base import ImageSource, identity
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json, write_json


class ScanResult(NamedTuple):
    """The result for one file: an image's id, or None and the reason."""

    image: str | None
    reason: str


class PixelCache:
    """Maps content id to a row of one [rows, size, size, 3] uint8 file. Scan inside `with`; read at any time."""

    def __init__(
        self, folder: Path, config: ImagesConfig, transform: Transform, *, limit_mb: float, decode_seconds: float
    ) -> None:
        self.folder = folder
        self.config = config
        self.transform = transform
        self.limits = Limits(config.max_pixels, decode_seconds)
        self.shape = (transform.size, transform.size, 3)
        self._bytes = int(np.prod(self.shape))
        self._limit = int(limit_mb * 2**20)
        self._guard = threading.Lock()
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
        self._files: dict[str, list[object]] = {}
        self._rows: dict[str, int] = {}
        self._changed = False
        try:
            state = read_json(self.folder / "index.json")
            stored = (self.folder / "pixels.u8").stat().st_size // self._bytes
            if sorted(state["rows"].values()) == list(range(len(state["rows"]))) and len(state["rows"]) <= stored:
                self._files, self._rows = dict(state["files"]), dict(state["rows"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # missing or damaged: everything is decoded again

    def __getstate__(self) -> dict[str, Any]:
        """For worker processes, which read single images: without the index, whose rows `Pixels` has, and locks."""
        kept = ("config", "transform", "limits", "shape", "_bytes")
        return {name: self.__dict__[name] for name in kept} | {"folder": self.folder.absolute()}

    def __enter__(self) -> PixelCache:
        self._lock.acquire()
        self._load()  # another process may have added images meanwhile
        self._handle = os.open(self.folder / "pixels.u8", os.O_RDWR | os.O_CREAT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._changed:
                os.fsync(self._handle)  # the index must never name a row that is not on disk
                write_json(self.folder / "index.json", {"files": self._files, "rows": self._rows})
        finally:
            os.close(self._handle)
            self._lock.release()

    def scan(self, source: ImageSource, key: str) -> ScanResult:
        """The identity of one image; new content is decoded and stored. Thread-safe."""
        try:
            stamp = source.stamp(key)
        except OSError as error:
            return ScanResult(None, f"unreadable: {error.strerror}")
        address = source.address(key)
        known = self._files.get(address)
        if known and stamp and known[:2] == list(stamp):
            return ScanResult(known[2], known[3])  # type: ignore[arg-type]
        try:
            scanned = self._read(source, key)
        except TooCostly as costly:  # not cached: the limits may be higher next time
            setting = " (runtime.decode_seconds)" if isinstance(costly, TooSlow) else ""
            return ScanResult(None, f"{costly}{setting}")
        with self._guard:
            if stamp:
                self._files[address] = [*stamp, *scanned]
            self._changed = True
        return scanned

    def _read(self, source: ImageSource, key: str) -> ScanResult:
        try:
            data = source.read(key, self.config.max_megabytes * 2**20)
            image = identity(data)
            if image not in self._rows:
                self._store(image, shared_decoders().pixels(data, self.transform, self.limits))
        except TooCostly:
            raise
        except BadImage as bad:
            return ScanResult(None, str(bad))
        return ScanResult(image, "")

    def _store(self, image: str, pixels: np.ndarray) -> None:
        with self._guard:
            if image in self._rows or (len(self._rows) + 1) * self._bytes > self._limit:
                return
            row = self._rows[image] = len(self._rows)
        os.pwrite(self._handle, pixels.tobytes(), row * self._bytes)

    def reader(self, source: ImageSource, ids: np.ndarray, keys: np.ndarray) -> Pixels:
        """Pixels of the images with these ids [N] and keys [N], by row number."""
        return Pixels(self, source, ids, keys)


class Pixels:
    """uint8 images [N, size, size, 3] of a table, by row number; images that did not fit into the cache are decoded again."""

    def __init__(self, cache: PixelCache, source: ImageSource, ids: np.ndarray, keys: np.ndarray) -> None:
        self._cache, self._source, self._keys = cache, source, keys
        self._row = np.array([cache._rows.get(i, -1) for i in ids], dtype=np.int64)
        self._map = self._open_map()

    def _open_map(self) -> np.memmap[Any, Any] | None:
        path, cache = self._cache.folder / "pixels.u8", self._cache
        stored = path.stat().st_size // cache._bytes
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
        """rows [B] to uint8 [B, size, size, 3]."""
        where = self._row[rows.numpy()]
        if self._map is not None and (where >= 0).all():
            return torch.from_numpy(self._map[where])
        return torch.from_numpy(np.stack([self._one(int(row)) for row in rows]))

    def _one(self, row: int) -> np.ndarray:
        if self._row[row] >= 0 and self._map is not None:
            return np.asarray(self._map[self._row[row]])
        cache, key = self._cache, self._keys[row]
        try:
            data = self._source.read(key, cache.config.max_megabytes * 2**20)
            return shared_decoders().pixels(data, cache.transform, cache.limits)
        except BadImage as bad:
            raise UserError(
                f"{self._source.place}/{key}: {bad}; it was usable when the images were listed; restore it"
            ) from bad
