"""What desktop windows share: the pages' colours, and pictures that fit."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from PIL import Image, ImageTk

from pipeline.errors import UserError

GROUND, PANEL, INK, QUIET, LINE, ACCENT, PRESS = (
    "#f6f5f2",
    "#ffffff",
    "#1f2523",
    "#5c6663",
    "#d9d8d2",
    "#2f6f5e",
    "#e5efeb",
)


SMALL, ENLARGED = 64, 320  # pictures up to SMALL pixels are drawn at ENLARGED: larger, blocks hide the picture


def open_window(instead: str) -> tk.Tk:
    """A window of this program.

    Args:
        instead: what a user without a screen can do, for the message.

    Raises:
        UserError: there is no screen.
    """
    try:
        return tk.Tk(className="image-rlhf")
    except tk.TclError as error:
        raise UserError(f"the window needs a screen ({error}); {instead}") from error


def dress(root: tk.Tk) -> None:
    """Give a window the page's look."""
    root.configure(background=GROUND)
    style = ttk.Style(root)
    style.theme_use("clam")
    style.configure(".", background=GROUND, foreground=INK)
    style.configure("TButton", background=PANEL, bordercolor=LINE, relief="flat", padding=(8, 5))
    style.map("TButton", background=[("active", PRESS)])
    style.configure("Choice.TButton", font=("TkDefaultFont", 12, "bold"), padding=(16, 9), width=-5)
    style.configure("Question.TLabel", font=("TkDefaultFont", 16, "bold"))
    style.configure("Quiet.TLabel", foreground=QUIET)
    style.configure("TProgressbar", background=ACCENT, troughcolor=LINE, bordercolor=LINE, thickness=6)


def fitted(picture: Image.Image, width: int, height: int, enlarged: int) -> ImageTk.PhotoImage:
    """The picture as large as fits; a tiny one no larger than `enlarged`."""
    limit = enlarged if max(picture.size) <= SMALL else max(width, height)
    scale = min(width / picture.width, height / picture.height, limit / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return ImageTk.PhotoImage(picture.resize(size, Image.Resampling.BICUBIC))
