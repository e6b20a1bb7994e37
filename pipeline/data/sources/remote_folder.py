"""The image source `folder` at an address that fsspec knows: one object per image."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.data.decode import GONE, BadImage
from pipeline.data.sources.base import SPLITS, Entry, ImageSource, folder_label
from pipeline.data.sources.folder_listing import split_columns
from pipeline.data.sources.listing import BATCH, batch_of, entries_of, key_array
from pipeline.data.sources.remote_storage import READERS
from pipeline.data.sources.storage import StoredFile, open_storage

if TYPE_CHECKING:
    from pipeline.config import ImagesConfig


class RemoteFolderSource(ImageSource):
    """As `FolderSource`: keys are paths relative to the root, splits and classes are sub-folders."""

    readers = READERS

    def __init__(self, config: ImagesConfig, cache: Path) -> None:
        self.place = str(config.root).rstrip("/")
        self._storage, root = open_storage(config, cache)
        self._prefix = f"{root.rstrip('/')}/"

    @classmethod
    def open(cls, config: ImagesConfig, cache: Path) -> RemoteFolderSource:
        return cls(config, cache)

    def entries(self) -> Iterator[Entry]:
        for batch in self.listing(0):
            yield from entries_of(batch)

    def listing(self, expected: int) -> Iterator[pa.RecordBatch]:
        found = self._storage.below(self._prefix)
        folders = self._split_folders()
        while some := list(islice(found, BATCH)):
            keys = key_array([file.path.removeprefix(self._prefix) for file in some])
            split, outside = split_columns(keys, folders)
            yield batch_of(
                keys,
                split=split,
                outside=outside,
                size=pa.array([file.size for file in some], pa.int64()),
                time=pa.array([file.time for file in some], pa.int64()),
            )

    def _split_folders(self) -> set[str]:
        return {split for split in SPLITS if self._storage.is_folder(f"{self._prefix}{split}")}

    def read(self, key: str, max_bytes: int) -> bytes:
        file = self._file(key)
        if file is None:
            raise BadImage(GONE)
        if file.size > max_bytes:
            raise BadImage(
                f"too large: {file.size / 2**20:.0f} MiB, more than images.max_megabytes = {max_bytes / 2**20:g}"
            )
        return self._storage.read(file, 0, file.size)

    def _file(self, key: str) -> StoredFile | None:
        return self._storage.stat(self._prefix + key)

    def label(self, key: str) -> str | None:
        return folder_label(key)
