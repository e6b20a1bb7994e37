"""Pictures on the window's canvas, and large in a window of their own."""

from __future__ import annotations

import io
import tkinter as tk
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageTk

from pipeline.data.decode import BadImage
from pipeline.data.decoder_pool import DecodingStopped
from pipeline.ui.tk_theme import ENLARGED, fitted
from stages.collect.image_renditions import SCREEN, ZOOMED, Renditions

GAP = 12


class Pictures:
    """One picture, or two side by side."""

    def __init__(self, canvas: tk.Canvas, renditions: Renditions) -> None:
        self.canvas, self.renditions = canvas, renditions
        self._loader = ThreadPoolExecutor(1, "loader")
        self._photos: list[ImageTk.PhotoImage] = []  # Tk forgets pictures that nobody holds

    def load(self, image: str, side: int = SCREEN) -> Image.Image | None:
        """The picture; None if its file is gone or broken."""
        try:
            return Image.open(io.BytesIO(self.renditions.get(image, side).data))
        except (OSError, BadImage, DecodingStopped):
            return None

    def preload(self, images: Sequence[str]) -> None:
        """Have these at hand soon."""
        for image in images:
            self._loader.submit(self.load, image)

    def draw(self, images: Sequence[str]) -> None:
        """Show these, and nothing else."""
        self.canvas.delete("all")
        self._photos.clear()
        if not images:
            return
        width, height = self.canvas.winfo_width() // len(images), self.canvas.winfo_height()
        for place, name in enumerate(images):
            middle = (place * width + width // 2, height // 2)
            if (picture := self.load(name)) is None:
                self.canvas.create_text(*middle, text="This image cannot be read any more.")
            elif min(width, height) > 2 * GAP:
                self._photos.append(fitted(picture, width - GAP, height, ENLARGED))
                self.canvas.create_image(*middle, image=self._photos[-1])

    def close(self) -> None:
        self.renditions.close()
        self._loader.shutdown(wait=False, cancel_futures=True)


def zoom(root: tk.Tk, pictures: Pictures, images: Sequence[str]) -> None:
    """The pictures as large as the screen allows, until a key or click."""
    top = tk.Toplevel(root)
    top.title("image-rlhf: large")
    width, height = root.winfo_screenwidth() * 9 // 10, root.winfo_screenheight() * 8 // 10
    for image in images:
        if picture := pictures.load(image, ZOOMED):
            photo = fitted(picture, width // len(images), height, enlarged=min(width, height))
            label = tk.Label(top, image=photo)
            label.photo = photo  # type: ignore[attr-defined]
            label.pack(side="left")
    closes_by_key(top)


def closes_by_key(top: tk.Toplevel) -> None:
    """Any key or click closes the window, and does nothing else."""

    def close(event: tk.Event[tk.Misc]) -> str:
        top.destroy()
        return "break"

    top.bindtags((str(top), "all"))  # not the main window's, or the key would answer the question behind
    top.bind("<Key>", close)
    top.bind("<Button>", close)
    top.focus_set()
