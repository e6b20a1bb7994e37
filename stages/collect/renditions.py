"""Images as a browser can show them: upright RGB, no larger than a screen, whatever format the file has."""

from __future__ import annotations

import io
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from PIL import Image

from pipeline.images.decode import decode
from pipeline.images.table import ImageTable

SCREEN, ZOOMED = 1024, 2560  # longer side in pixels
LOSSLESS = 256  # up to this side the pixels themselves are sent: a small picture must not be smeared
KEPT_BYTES = 128 * 2**20


@dataclass(frozen=True)
class Rendition:
    data: bytes
    media_type: str


class Renditions:
    """Makes and keeps renditions; safe for threads."""

    def __init__(self, table: ImageTable, max_pixels: int) -> None:
        self._table, self._max_pixels = table, max_pixels
        self._kept: OrderedDict[tuple[str, int], Rendition] = OrderedDict()
        self._bytes, self._guard = 0, Lock()

    def get(self, image: str, side: int = SCREEN) -> Rendition:
        """The image with this id, its longer side at most `side` pixels.

        Raises:
            OSError, BadImage: the file is gone or was changed since it was listed.
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

    def _make(self, image: str, side: int) -> Rendition:
        path = self._table.root / self._table.paths[self._table.position[image]]
        picture = decode(path.read_bytes(), self._max_pixels)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        if max(picture.size) <= LOSSLESS:
            picture.save(out, "PNG")
            return Rendition(out.getvalue(), "image/png")
        picture.save(out, "JPEG", quality=90)
        return Rendition(out.getvalue(), "image/jpeg")
