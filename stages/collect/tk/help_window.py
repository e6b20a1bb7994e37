"""The window with the keys of a question."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import ttk

from pipeline.kinds import KeyHelp
from stages.collect.tk.key_presses import shown_key
from stages.collect.tk.pictures import close_on_key

GAP = 12


def show_help(root: tk.Tk, lines: Sequence[KeyHelp]) -> None:
    """Show keys and their meaning until a key or click."""
    top = tk.Toplevel(root)
    top.title("image-rlhf: keys")
    for row, line in enumerate(lines):
        keys, meaning = "  ".join(map(shown_key, line.keys)), line.meaning
        ttk.Label(top, text=keys).grid(row=row, column=0, sticky="e", padx=GAP, pady=2)
        ttk.Label(top, text=meaning).grid(row=row, column=1, sticky="w", padx=GAP, pady=2)
    close_on_key(top)
