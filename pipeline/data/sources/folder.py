"""The image source `folder`: files below `images.root`, classes and splits by sub-folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.decode import read_file
from pipeline.data.sources.base import SPLITS, Entry, ImageSource, folder_label
from pipeline.data.sources.folder_listing import folder_batches
from pipeline.data.sources.listing import entries_of
from pipeline.data.sources.remote_folder import RemoteFolderSource
from pipeline.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.config import ImagesConfig


class FolderSource(ImageSource):
    """Keys are paths relative to the root: [split/]class/.../file, or files without class folders.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, str(root)
        self._prefix = os.path.join(os.path.abspath(root), "")  # noqa: PTH118  as texts: a Path for every file is slow

    @classmethod
    def open(cls, config: ImagesConfig, cache: Path) -> ImageSource:
        root = config.root
        assert root is not None
        if isinstance(root, str):
            return RemoteFolderSource.open(config, cache)
        if not root.is_dir():
            hint = "; `make data DATA=ants_bees` downloads the tutorial's" if "hymenoptera" in root.name else ""
            raise UserError(f"images.root: there is no folder {root}{hint}")
        return cls(root)

    @classmethod
    def check(cls, config: ImagesConfig) -> None:
        if config.root is None:
            raise ValueError("images.root is needed: the folder that holds the images")

    def entries(self) -> Iterator[Entry]:
        """Files below the root, by name. The split is the top folder's name; without val/ and test/ the content decides.

        Files outside val/ and test/ are training images if there is no train/; otherwise they are left out.
        """
        found = [entry for batch in self._batches(0) for entry in entries_of(batch)]
        yield from sorted(found, key=lambda entry: entry.key.split("/"))

    def listing(self, expected: int) -> Iterator[pa.RecordBatch]:
        if type(self).entries is not FolderSource.entries:  # a subclass lists files of its own
            return super().listing(expected)
        return self._batches(expected)

    def _batches(self, expected: int) -> Iterator[pa.RecordBatch]:
        folders = {split for split in SPLITS if (self.root / split).is_dir()}
        return folder_batches(self._prefix, expected, folders)

    def read(self, key: str, max_bytes: int) -> bytes:
        return read_file(self.root / key, max_bytes)

    def stamp(self, key: str) -> tuple[int, int]:
        status = os.stat(self._prefix + key)  # noqa: PTH116
        return status.st_size, status.st_mtime_ns

    def identifier(self) -> str:
        return self._prefix

    def label(self, key: str) -> str | None:
        return folder_label(key)

    def labels_of(self, keys: Iterable[str]) -> set[str]:
        if type(self).label is not FolderSource.label:  # a subclass has labels of its own
            return super().labels_of(keys)
        folders = {key.rpartition("/")[0] for key in keys}
        return {name for folder in folders if (name := folder_label(f"{folder}/"))}
