"""An enlarged tile over the others, while the mouse stays on it."""

from __future__ import annotations

import tkinter as tk
from typing import TYPE_CHECKING

from PIL import ImageTk

from pipeline.ui.tk_theme import GROUND, fitted
from stages.collect.image_renditions import SCREEN_PIXELS

if TYPE_CHECKING:
    from stages.collect.tk.pictures import Pictures

HOVER_MS = 600  # milliseconds for which the mouse stays on a tile before it is enlarged, as on the page
SHARE = 0.75  # of the canvas's height and of the width beside the tile that an enlarged tile takes at most
EDGE, MARGIN, INK = 3, 10, "#1f2523"
TAG = "preview"


class TilePreview:
    """Shows one enlarged tile at a time on a canvas.

    Args:
        canvas: with the tiles.
        pictures: loads images.
    """

    def __init__(self, canvas: tk.Canvas, pictures: Pictures) -> None:
        self.canvas, self.pictures = canvas, pictures
        self._image: str | None = None  # the tile that the mouse is on
        self._waiting: str | None = None  # Tk's name of the callback
        self._photo: ImageTk.PhotoImage | None = None  # Tk needs a reference to every image that it shows

    def point(self, image: str | None, x: int, side: int) -> None:
        """The mouse is on a tile, or on none; after a while the tile is enlarged.

        Args:
            x, side: left edge and side of the tile, in pixels.
        """
        if image == self._image:
            return
        self.hide()
        self._image = image
        if image is not None:
            self._waiting = self.canvas.after(HOVER_MS, lambda: self._show(image, x, side))

    def hide(self) -> None:
        """Take the enlarged tile away; it comes back when the mouse has moved to another tile."""
        if self._waiting is not None:
            self.canvas.after_cancel(self._waiting)
            self._waiting = None
        self.canvas.delete(TAG)
        self._photo = None

    def _show(self, image: str, x: int, side: int) -> None:
        """Draw it on the side of the tile that has more room, so that the tile itself stays visible."""
        self._waiting = None
        width, height = self.canvas.winfo_width(), self.canvas.winfo_height()
        right = width - x - side > x
        room = width - x - side if right else x
        largest = max(side, int(SHARE * min(height, room - 2 * MARGIN)))
        if (picture := self.pictures.load(image, SCREEN_PIXELS)) is None:
            return
        self._photo = fitted(picture, largest, largest, enlarged=largest)
        wide, high = self._photo.width() + 2 * EDGE, self._photo.height() + 2 * EDGE
        left = min(x + side + MARGIN, width - wide) if right else max(0, x - MARGIN - wide)
        top = max(0, (height - high) // 2)
        self.canvas.create_rectangle(left, top, left + wide, top + high, fill=GROUND, outline=INK, width=EDGE, tags=TAG)
        self.canvas.create_image(left + wide // 2, top + high // 2, image=self._photo, tags=TAG)
