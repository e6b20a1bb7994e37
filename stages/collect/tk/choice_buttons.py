"""The choices of a question in the window: a button each, or a list where there are many."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from tkinter import ttk

from pipeline.config.judging_keys import KeysConfig
from pipeline.kinds import Choice
from stages.collect.tk.key_presses import shown_key

MAX_BUTTONS = 20  # more choices are a list to scroll
COLUMNS = 5


def add_button(parent: ttk.Frame, text: str, command: Callable[[], None], style: str, *, columns: int) -> None:
    """Add a button at the next place of a grid."""
    place = len(parent.winfo_children())
    button = ttk.Button(parent, text=text, command=command, takefocus=False, style=style)
    button.grid(row=place // columns, column=place % columns, padx=4, pady=4, sticky="ew")


def show_choices(frame: ttk.Frame, choices: Sequence[Choice], keys: KeysConfig, answer: Callable[[str], None]) -> None:
    """Fill an empty frame; `answer` is called with the answer that was chosen."""
    if len(choices) <= MAX_BUTTONS:
        for choice in choices:
            command = partial(answer, choice.answer)
            add_button(frame, choice_text(choice, keys), command, "Choice.TButton", columns=COLUMNS)
        return
    listed = tk.Listbox(frame, height=8, width=40, takefocus=False)
    listed.insert("end", *(choice_text(choice, keys) for choice in choices))
    listed.bind("<Double-Button-1>", lambda event: answer(choices[listed.curselection()[0]].answer))
    bar = ttk.Scrollbar(frame, command=listed.yview)
    listed.configure(yscrollcommand=bar.set)
    listed.pack(side="left")
    bar.pack(side="left", fill="y")


def choice_text(choice: Choice, keys: KeysConfig) -> str:
    """The text of a choice's button, with its key."""
    if choice.number is not None:
        return f"{choice.text}  [{choice.number}]" if choice.text else str(choice.number)
    return f"{choice.text}  [{shown_key(getattr(keys, choice.action)[0])}]" if choice.action else choice.text
