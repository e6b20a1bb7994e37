"""The page's colours, for the window."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

GROUND, PANEL, INK, QUIET, LINE, ACCENT, PRESS = (
    "#f6f5f2", "#ffffff", "#1f2523", "#5c6663", "#d9d8d2", "#2f6f5e", "#e5efeb"
)  # fmt: skip


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
