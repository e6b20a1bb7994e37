"""ImageSource: what the project needs to know of a place that holds images. A new source is one subclass in one module."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config import ImagesConfig

SPLITS = ("test", "val", "train")  # of two copies of an image the one listed first is kept: no test image is trained on


def identity(data: bytes) -> str:
    """The id of an image: `img-` (so that no spreadsheet takes it for a number) and 16 digits of its bytes' SHA-256."""
    return "img-" + hashlib.sha256(data).hexdigest()[:16]


@dataclass(frozen=True)
class Entry:
    """One thing that a source lists.

    Attributes:
        key: names it within the source, and in images.csv and messages; a folder's keys are relative POSIX paths.
        split: train, val or test; None where the source does not say, so that a hash of the content decides.
        problem: why it cannot be an image, if that shows without reading it.
        outside: why it is left out even if it is an image.
    """

    key: str
    split: str | None = None
    problem: str = ""
    outside: str = ""


class ImageSource(ABC):
    """Images by key: the bytes of image files, their splits and their classes.

    Nothing here is a path: an image may be a file, a member of an archive, a cell of a table or an object in a bucket.
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
            cache: a folder that all runs share; what is written there may be deleted at any time.

        Raises:
            UserError: there is no such place.
        """

    @classmethod  # noqa: B027  a source that needs no setting has nothing to check
    def check(cls, config: ImagesConfig) -> None:
        """Look at the settings when a configuration is read; nothing is opened yet.

        Raises:
            ValueError: a setting is missing or cannot be used; the message names it.
        """

    @abstractmethod
    def entries(self) -> Iterable[Entry]:
        """Everything there is, in a fixed order, usable or not. Each key is listed once."""

    @abstractmethod
    def read(self, key: str, max_bytes: int) -> bytes:
        """The bytes of an image file in one of the formats that Pillow reads.

        Raises:
            BadImage: it cannot be read, or has more than `max_bytes` bytes.
        """

    def stamp(self, key: str) -> tuple[int, int] | None:
        """Two numbers that change when the bytes do, such as size and time of change: equal ones spare reading them
        again. None where nothing tells; then every image is read each time a stage starts.

        Raises:
            OSError: it cannot be looked at.
        """
        return None

    def address(self, key: str) -> str:
        """Names the image among those of all sources; the pixel cache remembers it by that."""
        return f"{type(self).__module__}.{type(self).__qualname__}:{self.place}:{key}"

    @abstractmethod
    def label(self, key: str) -> str | None:
        """The true class, None where it is not known. Only gold labels are made of it (pipeline.data.gold_labels)."""

    def class_names(self) -> tuple[str, ...] | None:
        """All classes in the order of the models' outputs; None: the labels that occur, in alphabetical order."""
        return None
