"""Sources whose images lie in shards: files of many images, each with a catalog of its contents in the cache."""

from __future__ import annotations

import re
import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pyarrow as pa

from pipeline.data.sources.arrow_file import info_of, read_arrow, with_info, write_arrow
from pipeline.data.sources.base import SPLITS, Entry, ImageSource
from pipeline.data.sources.listing import constant, entries_of
from pipeline.data.sources.storage import LocalStorage, Storage, StoredFile, find_shards, open_storage
from pipeline.run.atomic_files import short_hash

if TYPE_CHECKING:
    from pipeline.config import ImagesConfig

OPEN_CATALOGS = 256  # memory maps that are kept
READERS = 32  # threads that read remote shards
FORMAT = "1"  # of catalogs; another number makes them again
_SPLIT = re.compile(r"(train|validation|valid|val|test)(?![a-z])", re.IGNORECASE)


def split_in_name(name: str) -> str | None:
    """The split that a shard's name begins with, or one of its folders': data/validation-00000-of-00001.parquet."""
    for part in reversed(name.split("/")):
        if match := _SPLIT.match(part):
            found = match[1].lower()
            return "val" if found.startswith("val") else found
    return None


class ShardSource(ImageSource):
    """Images in shards. `images.root` is a file, a folder, a pattern, or a range such as train-{000..099}.

    A shard whose name begins with train, val or test has images of this split; see `splits`. Subclasses list the
    contents of a shard, and read images from it.

    Attributes:
        suffix: of the files in a folder that are shards.
        schema: columns of a catalog.
        files: the shards, by path.
        names: of the shards, relative to the folder they share.
    """

    suffix: ClassVar[str]
    schema: ClassVar[pa.Schema]

    def __init__(self, config: ImagesConfig, cache: Path, storage: Storage, root: str) -> None:
        self.place, self.config, self.storage = str(config.root), config, storage
        base, self.files = find_shards(storage, root, self.suffix)
        self.names = [file.path.removeprefix(base) for file in self.files]
        self._number = {name: number for number, name in enumerate(self.names)}
        self._cache = cache / "shards"
        self._open: OrderedDict[int, tuple[pa.Table, dict[str, Any]]] = OrderedDict()
        self._guard = threading.Lock()
        self.readers = None if isinstance(storage, LocalStorage) else READERS

    @classmethod
    def open(cls, config: ImagesConfig, cache: Path) -> Self:
        return cls(config, cache, *open_storage(config, cache))

    @classmethod
    def check(cls, config: ImagesConfig) -> None:
        if config.root is None:
            raise ValueError(f"images.root is needed: the {cls.suffix} files that hold the images")

    @property
    @abstractmethod
    def settings(self) -> str:
        """The settings that a catalog depends on."""

    @abstractmethod
    def make_catalog(self, file: StoredFile) -> tuple[pa.Table, dict[str, object]]:
        """The contents of a shard, with the columns of `schema`, and values to keep beside, of which `labels` is one: all
        labels that occur.

        Raises:
            UserError: it is damaged, or lacks what the settings name.
        """

    @abstractmethod
    def shard_entries(self, number: int, first_unit: int) -> tuple[list[pa.RecordBatch], int]:
        """The listing of a shard without splits, and the number of units in it."""

    @abstractmethod
    def find(self, key: str) -> tuple[int, int]:
        """The number of a key's shard, and the row of its catalog.

        Raises:
            KeyError: there is no such image.
        """

    def version(self) -> str:
        stamps = (f"{name} {file.size} {file.time}" for name, file in zip(self.names, self.files, strict=True))
        return short_hash(FORMAT, self.settings, *stamps)

    def catalog(self, number: int) -> tuple[pa.Table, dict[str, Any]]:
        """The contents of a shard, listed once and then memory-mapped, and the values beside."""
        with self._guard:
            if (found := self._open.get(number)) is not None:
                self._open.move_to_end(number)
                return found
        file = self.files[number]
        stamp = short_hash(FORMAT, type(self).__name__, file.path, str(file.size), str(file.time), self.settings)
        path = self._cache / f"{stamp}.arrow"
        table = read_arrow(path, self.schema)
        if table is None:
            contents, info = self.make_catalog(file)
            write_arrow(path, with_info(self.schema, info), contents.combine_chunks().to_batches())
            table = read_arrow(path, self.schema)
            assert table is not None
        table = table.combine_chunks() if table.column(0).num_chunks > 1 else table
        found = (table, info_of(table.schema))
        with self._guard:
            self._open[number] = found
            if len(self._open) > OPEN_CATALOGS:
                self._open.popitem(last=False)
        return found

    def entries(self) -> Iterator[Entry]:
        for batch in self.listing(0):
            yield from entries_of(batch)

    def listing(self, expected: int) -> Iterator[pa.RecordBatch]:
        """Shards are cataloged in parallel. A catalog is kept, so that a first opening that is killed resumes."""
        with ThreadPoolExecutor(self.readers or 4) as pool:
            for _ in pool.map(self.catalog, range(len(self.files))):
                pass  # all, before the first is listed: splits may depend on every shard
        splits = [split_in_name(name) for name in self.names]
        named = {split for split in splits if split}
        unit = 0
        for number, split in enumerate(splits):
            batches, units = self.shard_entries(number, unit)
            unit += units
            for batch in batches:
                yield self.with_splits(batch, number, split, named)

    def with_splits(self, batch: pa.RecordBatch, number: int, split: str | None, named: set[str]) -> pa.RecordBatch:
        """A batch of a shard with its split; None if no shard is named val or test, then the content decides.

        Other shards are training images if none is named train; otherwise they are left out.

        Args:
            split: of the shard, by its name.
            named: splits of all shards.
        """
        code, outside = None, None
        if named & {"val", "test"}:
            if split or "train" not in named:
                code = SPLITS.index(split or "train")
            else:
                outside = f"in {self.names[number]}, whose name is not that of a split ({', '.join(sorted(named))})"
        batch = batch.set_column(1, "split", constant(code, len(batch), pa.int8()))
        return batch.set_column(3, "outside", constant(outside, len(batch), pa.string()))

    def label(self, key: str) -> str | None:
        number, row = self.find(key)
        return self.named_label(self.catalog(number)[0].column("label")[row].as_py())

    def named_label(self, label: str | None) -> str | None:
        """A label; a number stands for a class of `images.classes`."""
        classes = self.config.classes
        if label is not None and classes and label not in classes and label.isascii() and label.isdigit():
            return classes[int(label)] if int(label) < len(classes) else None
        return label

    def class_names(self) -> tuple[str, ...] | None:
        """All labels; numbers in their order."""
        found: set[str] = set()
        for number in range(len(self.files)):
            found.update(self.catalog(number)[1]["labels"])
        numbers = all(label.isascii() and label.isdigit() for label in found)
        return tuple(sorted(found, key=int if numbers else None)) or None

    def shard_of(self, key: str, separator: str) -> tuple[int, str]:
        """The number of a key's shard, and the rest of the key.

        Raises:
            KeyError: there is no such shard.
        """
        at = key.find(separator)
        while at >= 0:
            if (number := self._number.get(key[:at])) is not None:
                return number, key[at + 1 :]
            at = key.find(separator, at + 1)
        raise KeyError(key)


def label_info(labels: pa.Array) -> list[str]:
    """All labels of a shard, for its catalog."""
    return [str(label) for label in labels.unique().to_pylist() if label is not None]


def stamps(sizes: np.ndarray, file: StoredFile) -> dict[str, pa.Array]:
    """The columns `size` and `time` of the images of a shard."""
    return {"size": pa.array(sizes), "time": constant(file.time, len(sizes), pa.int64())}
