"""Images of any format as a browser can show them: upright RGB, at most as large as a screen."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from pipeline.config import Config
from pipeline.data.decode_limits import Limits
from pipeline.data.decoder_pool import Decoders
from pipeline.data.image_table import ImageTable
from pipeline.kinds.page_items import Rendition

TILE_PIXELS, SCREEN_PIXELS, ZOOM_PIXELS = 256, 1024, 2560  # longer side in pixels
MAX_CACHE_BYTES = 128 * 2**20
DECODER_PROCESSES = 2


class Renditions:
    """Makes and caches renditions; thread-safe.

    Args:
        max_bytes: maximum size of an image file.
    """

    def __init__(self, table: ImageTable, limits: Limits, max_bytes: int) -> None:
        self._table, self._limits, self._max_bytes = table, limits, max_bytes
        self._decoders = Decoders(DECODER_PROCESSES, reserve=True)
        self._cache: OrderedDict[tuple[str, int], Rendition] = OrderedDict()
        self._bytes, self._guard = 0, Lock()

    @classmethod
    def of(cls, table: ImageTable, config: Config) -> Renditions:
        """Renditions with the limits of a configuration."""
        images = config.images
        return cls(table, Limits(images.max_pixels, config.runtime.decode_seconds), images.max_megabytes * 2**20)

    def get(self, image: str, side: int = SCREEN_PIXELS) -> Rendition:
        """The image with this id, its longer side at most `side` pixels.

        Raises:
            BadImage: the file is missing, changed or cannot be decoded.
            DecodingStopped: `close` was called.
        """
        with self._guard:
            if cached := self._cache.get((image, side)):
                self._cache.move_to_end((image, side))
                return cached
        rendition = self._make(image, side)
        with self._guard:
            if (image, side) not in self._cache:
                self._cache[image, side] = rendition
                self._bytes += len(rendition.data)
            while self._bytes > MAX_CACHE_BYTES and len(self._cache) > 1:
                self._bytes -= len(self._cache.popitem(last=False)[1].data)
        return rendition

    def close(self) -> None:
        """End the decoding processes at once."""
        self._decoders.close()

    def _make(self, image: str, side: int) -> Rendition:
        data = self._table.read(image, self._max_bytes)
        media_type, data = self._decoders.rendition(data, side, self._limits)
        return Rendition(data, media_type)
