"""A dialog of the window to choose a class by number, name or click."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import ttk

GAP = 12


def matching(classes: Sequence[str], typed: str) -> list[str]:
    """The classes whose name contains the text, or whose number starts with the digits; an exact number comes first."""
    wanted = typed.strip().lower()
    if not wanted.isdecimal():
        return [name for name in classes if wanted in name.lower()]
    numbers = [number for number in range(len(classes)) if str(number).startswith(wanted)]
    return [classes[number] for number in sorted(numbers, key=lambda number: str(number) != wanted)]


def choose_class(parent: tk.Misc, classes: Sequence[str], chosen: Callable[[str], None], typed: str = "") -> None:
    """Show the dialog; `chosen` is called with the name of the class, if one is chosen."""
    top = tk.Toplevel(parent)
    top.title("image-rlhf: class of this page")
    text = tk.StringVar(top, typed)
    entry, listed = ttk.Entry(top, textvariable=text, width=40), tk.Listbox(top, height=14, width=40)
    entry.pack(padx=GAP, pady=(GAP, 4), fill="x")
    listed.pack(padx=GAP, pady=(0, GAP), fill="both", expand=True)
    top.bindtags((str(top), "all"))  # without the main window's bindings

    def fill(*_: object) -> None:
        listed.delete(0, "end")
        listed.insert("end", *(f"{classes.index(name)}  {name}" for name in matching(classes, text.get())))

    def take(place: int) -> None:
        found = matching(classes, text.get())
        if place < len(found):
            top.destroy()
            chosen(found[place])

    def selected(event: tk.Event[tk.Misc]) -> None:
        if places := listed.curselection():
            take(places[0])

    text.trace_add("write", fill)
    entry.bind("<Return>", lambda event: take(0) if text.get().strip() else None)
    listed.bind("<ButtonRelease-1>", selected)
    listed.bind("<Return>", selected)
    windows: tuple[tk.Misc, ...] = (top, entry, listed)
    for widget in windows:
        widget.bind("<Escape>", lambda event: top.destroy())
    fill()
    entry.icursor("end")
    entry.focus_set()
