"""Show images on the window's canvas, and enlarged in a separate window."""

from __future__ import annotations

import io
import tkinter as tk
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, ImageTk

from pipeline.data.decode import BadImage
from pipeline.data.decoder_pool import DecodingStopped
from pipeline.ui.tk_theme import ENLARGED, fitted
from stages.collect.image_renditions import SCREEN_PIXELS, ZOOM_PIXELS, Renditions

GAP = 12


class Pictures:
    """One picture, or two side by side."""

    def __init__(self, canvas: tk.Canvas, renditions: Renditions) -> None:
        self.canvas, self.renditions = canvas, renditions
        self._loader = ThreadPoolExecutor(1, "loader")
        self._photos: list[ImageTk.PhotoImage] = []  # Tk needs a reference to every image that it shows

    def load(self, image: str, side: int = SCREEN_PIXELS) -> Image.Image | None:
        """The image; None if its file is missing or broken."""
        try:
            return Image.open(io.BytesIO(self.renditions.get(image, side).data))
        except (OSError, BadImage, DecodingStopped):
            return None

    def preload(self, images: Sequence[str], side: int = SCREEN_PIXELS) -> None:
        """Load these images in the background."""
        for image in images:
            self._loader.submit(self.load, image, side)

    def draw(self, images: Sequence[str]) -> None:
        """Show these images instead of the present ones."""
        self.canvas.delete("all")
        self._photos.clear()
        if not images:
            return
        width, height = self.canvas.winfo_width() // len(images), self.canvas.winfo_height()
        for place, name in enumerate(images):
            middle = (place * width + width // 2, height // 2)
            if (picture := self.load(name)) is None:
                self.canvas.create_text(*middle, text="This image cannot be read.")
            elif min(width, height) > 2 * GAP:
                self._photos.append(fitted(picture, width - GAP, height, ENLARGED))
                self.canvas.create_image(*middle, image=self._photos[-1])

    def close(self) -> None:
        self.renditions.close()
        self._loader.shutdown(wait=False, cancel_futures=True)


def zoom(root: tk.Tk, pictures: Pictures, images: Sequence[str]) -> None:
    """Show the images as large as the screen allows, until a key or click."""
    top = tk.Toplevel(root)
    top.title("image-rlhf: enlarged image")
    width, height = root.winfo_screenwidth() * 9 // 10, root.winfo_screenheight() * 8 // 10
    for image in images:
        if picture := pictures.load(image, ZOOM_PIXELS):
            photo = fitted(picture, width // len(images), height, enlarged=min(width, height))
            label = tk.Label(top, image=photo)
            label.photo = photo  # type: ignore[attr-defined]
            label.pack(side="left")
    close_on_key(top)


def close_on_key(top: tk.Toplevel) -> None:
    """Let any key or click close the window, and do nothing else."""

    def close(event: tk.Event[tk.Misc]) -> str:
        top.destroy()
        return "break"

    top.bindtags((str(top), "all"))  # without the main window's bindings: the key must not answer the question
    top.bind("<Key>", close)
    top.bind("<Button>", close)
    top.focus_set()
