"""ImageSource: the interface to a place that has images. A new source is one subclass in one module."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
    `read` and `stamp` are called from several threads at once.

    Attributes:
        place: the folder or address of the images, for messages.
    """

    place: str

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

    def address(self, key: str) -> str:
        """A name that is unique over all sources, for the pixel cache."""
        return f"{type(self).__module__}.{type(self).__qualname__}:{self.place}:{key}"

    @abstractmethod
    def label(self, key: str) -> str | None:
        """The true class; None if it is not known. Only pipeline.data.gold_labels calls this."""

    def class_names(self) -> tuple[str, ...] | None:
        """All classes in the order of the models' outputs; None: the labels that occur, in alphabetical order."""
        return None
