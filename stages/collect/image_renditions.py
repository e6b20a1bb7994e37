"""Images as a browser can show them: upright RGB, no larger than a screen, whatever format the file has."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from pipeline.config import Config
from pipeline.data.decode_limits import Limits
from pipeline.data.decoder_pool import Decoders
from pipeline.data.image_table import ImageTable

SCREEN, ZOOMED = 1024, 2560  # longer side in pixels
KEPT_BYTES = 128 * 2**20
PROCESSES = 2


@dataclass(frozen=True)
class Rendition:
    data: bytes
    media_type: str


class Renditions:
    """Makes and keeps renditions; safe for threads.

    Args:
        max_bytes: of an image file.
    """

    def __init__(self, table: ImageTable, limits: Limits, max_bytes: int) -> None:
        self._table, self._limits, self._max_bytes = table, limits, max_bytes
        self._decoders = Decoders(PROCESSES, reserve=True)
        self._kept: OrderedDict[tuple[str, int], Rendition] = OrderedDict()
        self._bytes, self._guard = 0, Lock()

    @classmethod
    def of(cls, table: ImageTable, config: Config) -> Renditions:
        """With the limits of a configuration."""
        images = config.images
        return cls(table, Limits(images.max_pixels, config.runtime.decode_seconds), images.max_megabytes * 2**20)

    def get(self, image: str, side: int = SCREEN) -> Rendition:
        """The image with this id, its longer side at most `side` pixels.

        Raises:
            BadImage: the file is gone or was changed since it was listed.
            DecodingStopped: `close` was called.
        """
        with self._guard:
            if found := self._kept.get((image, side)):
                self._kept.move_to_end((image, side))
                return found
        made = self._make(image, side)
        with self._guard:
            if (image, side) not in self._kept:
                self._kept[image, side] = made
                self._bytes += len(made.data)
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1].data)
        return made

    def close(self) -> None:
        """End the decoding processes, whatever they are doing."""
        self._decoders.close()

    def _make(self, image: str, side: int) -> Rendition:
        data = self._table.read(image, self._max_bytes)
        media_type, data = self._decoders.rendition(data, side, self._limits)
        return Rendition(data, media_type)
