"""Shared parts of desktop windows: the colours of the pages, and scaled pictures."""

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


SMALL, ENLARGED = 64, 320  # pictures up to SMALL pixels are enlarged to at most ENLARGED; beyond it they look blocky


def open_window(instead: str) -> tk.Tk:
    """Open a window.

    Args:
        instead: alternative for users without a display, for the message.

    Raises:
        UserError: there is no display.
    """
    try:
        return tk.Tk(className="image-rlhf")
    except tk.TclError as error:
        raise UserError(f"no display for the window ({error}); {instead}") from error


def dress(root: tk.Tk) -> None:
    """Apply the theme of the pages to a window."""
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
    """The picture scaled to fit; one of at most SMALL pixels is no larger than `enlarged`."""
    limit = enlarged if max(picture.size) <= SMALL else max(width, height)
    scale = min(width / picture.width, height / picture.height, limit / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return ImageTk.PhotoImage(picture.resize(size, Image.Resampling.BICUBIC))
