"""The image source `folder`: files below `images.root`, classes and splits by sub-folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.decode import read_file
from pipeline.data.sources.base import SPLITS, Entry, ImageSource
from pipeline.errors import UserError

if TYPE_CHECKING:
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
    def open(cls, config: ImagesConfig, cache: Path) -> FolderSource:
        root = config.root
        assert root is not None
        if not root.is_dir():
            hint = "; `make data DATA=ants_bees` downloads the tutorial's" if "hymenoptera" in root.name else ""
            raise UserError(f"images.root: there is no folder {root}{hint}")
        return cls(root)

    @classmethod
    def check(cls, config: ImagesConfig) -> None:
        if config.root is None:
            raise ValueError("images.root is needed: the folder that holds the images")

    def entries(self) -> Iterator[Entry]:
        """Files below the root. The split is the top folder's name; without val/ and test/ the content decides.

        Files outside val/ and test/ are training images if there is no train/; otherwise they are left out.
        """
        folders = {split for split in SPLITS if (self.root / split).is_dir()}
        outside = f"not in {', '.join(f'{f}/' for f in sorted(folders))}"
        for key, problem in _files(self._prefix):
            top = key.split("/", 1)[0]
            if top in folders:
                yield Entry(key, top if folders & {"val", "test"} else None, problem)
            elif "train" in folders:
                yield Entry(key, None, problem, outside)
            else:
                yield Entry(key, "train" if folders else None, problem)

    def read(self, key: str, max_bytes: int) -> bytes:
        return read_file(self.root / key, max_bytes)

    def stamp(self, key: str) -> tuple[int, int]:
        status = os.stat(self._prefix + key)  # noqa: PTH116
        return status.st_size, status.st_mtime_ns

    def address(self, key: str) -> str:
        return self._prefix + key.replace("/", os.sep)

    def label(self, key: str) -> str | None:
        """The class: the first folder below the split's (or the root)."""
        parts = key.split("/")[:-1]
        if parts and parts[0] in SPLITS:
            parts = parts[1:]
        return parts[0] if parts else None


def _files(root: str, folder: str = "") -> Iterator[tuple[str, str]]:
    """Keys of all files below a folder, each with the reason why it cannot be an image, if known without reading it.

    Hidden files and folders are ignored. Links to folders are not followed, since they may form a cycle.

    Args:
        root: its absolute path, with a separator at the end.
        folder: the key of a folder below it, with a slash at the end; the root itself by default.
    """
    with os.scandir(root + folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        key = folder + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _files(root, f"{key}/")
        elif entry.is_dir():
            yield key, "a link to a folder, which is not followed; replace it by the folder"
        elif entry.is_file() or not os.path.exists(entry.path):  # noqa: PTH110
            yield key, ""
        else:
            yield key, "not a regular file"
