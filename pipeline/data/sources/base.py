"""ImageSource: the interface to a place that has images. A new source is one subclass in one module."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.data.decode import BadImage

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.config import ImagesConfig

# Of two copies of an image the first in this order is kept, so that no test image is trained on.
SPLITS = ("test", "val", "train")


def identity(data: bytes) -> str:
    """The id of an image: `img-` (so that no spreadsheet reads it as a number) and 16 digits of its bytes' SHA-256."""
    return "img-" + hashlib.sha256(data).hexdigest()[:16]


@dataclass(frozen=True)
class Entry:
    """One file or object of a source.

    Attributes:
        key: its name within the source, in images.csv and in messages; a folder's keys are relative POSIX paths.
        split: train, val or test; None if the source does not define it; then a hash of the content decides.
        problem: why it cannot be an image, if that is known without reading it.
        outside: why it is left out even if it is an image.
    """

    key: str
    split: str | None = None
    problem: str = ""
    outside: str = ""


class ImageSource(ABC):
    """Images by key: the bytes of image files, their splits and their classes.

    Keys need not be paths: an image may be a file, a member of an archive, a cell of a table or an object in a bucket.
    `read` and `stamp` are called from several threads at once. `version`, `listing` and `read_many` need not be
    implemented: they make sources of millions of images fast.

    Attributes:
        place: the folder or address of the images, for messages.
        readers: threads that read at the same time; None: a few more than there are cores.
    """

    place: str
    readers: int | None = None

    @classmethod
    @abstractmethod
    def open(cls, config: ImagesConfig, cache: Path) -> ImageSource:
        """The source that a configuration describes.

        Args:
            cache: a folder that all runs share; its contents may be deleted at any time.

        Raises:
            UserError: there is no such place.
        """

    @classmethod  # noqa: B027  optional: a source without settings has nothing to check
    def check(cls, config: ImagesConfig) -> None:
        """Check the settings when a configuration is read; nothing is opened yet.

        Raises:
            ValueError: a setting is missing or invalid; the message names it.
        """

    @abstractmethod
    def entries(self) -> Iterable[Entry]:
        """All files or objects in a fixed order, usable or not. Each key is listed once."""

    @abstractmethod
    def read(self, key: str, max_bytes: int) -> bytes:
        """The bytes of an image file in one of the formats that Pillow reads.

        Raises:
            BadImage: it cannot be read, or has more than `max_bytes` bytes.
        """

    def stamp(self, key: str) -> tuple[int, int] | None:
        """Two numbers that change with the bytes, such as size and modification time; if equal, the bytes are not read
        again. None if there are no such numbers; then every image is read each time a stage starts.

        Raises:
            OSError: they cannot be read.
        """
        return None

    def version(self) -> str | None:
        """A text that changes whenever any entry or any image changes; if it is the same, nothing is listed again. None
        if there is no such text; then entries are listed, and their stamps compared, each time a stage starts.
        """
        return None

    def listing(self, expected: int) -> Iterator[pa.RecordBatch]:
        """All entries with their stamps, in batches of the columns of `pipeline.data.sources.listing.SCHEMA`.

        Args:
            expected: number of entries when they were last listed; 0 the first time.
        """
        from pipeline.data.sources.listing import listed_entries  # pyarrow is needed only when images are opened

        return listed_entries(self)

    def read_many(self, keys: Sequence[str], max_bytes: int) -> Iterator[bytes | BadImage]:
        """The bytes of several images in the order of their keys; a BadImage, not raised, for what `read` would refuse."""
        for key in keys:
            try:
                yield self.read(key, max_bytes)
            except BadImage as bad:
                yield bad

    def identifier(self) -> str:
        """A name that is unique over all sources, for the cache of their listings."""
        return f"{type(self).__module__}.{type(self).__qualname__}:{self.place}"

    @abstractmethod
    def label(self, key: str) -> str | None:
        """The true class; None if it is not known. Only pipeline.data.gold_labels calls this."""

    def labels_of(self, keys: Iterable[str]) -> set[str]:
        """The classes that occur. As `label`, only for pipeline.data.gold_labels."""
        return {name for key in keys if (name := self.label(key))}

    def class_names(self) -> tuple[str, ...] | None:
        """All classes in the order of the models' outputs; None: the labels that occur, in alphabetical order."""
        return None


def read_verified(source: ImageSource, key: str, image: str, max_bytes: int) -> bytes:
    """The bytes of an image that was listed under this id.

    Raises:
        BadImage: as `ImageSource.read`, or the bytes are not those that were listed.
    """
    data = source.read(key, max_bytes)
    if identity(data) != image:
        raise BadImage("its content has changed since the images were listed; run the command again")
    return data


def folder_label(key: str) -> str | None:
    """The class: the first folder below the split's (or the root)."""
    parts = key.split("/")[:-1]
    if parts and parts[0] in SPLITS:
        parts = parts[1:]
    return parts[0] if parts else None
