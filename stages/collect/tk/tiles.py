"""A page of tiles in the window: exceptions are marked by click, drag, arrows and space, or letters."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from string import ascii_lowercase
from typing import TYPE_CHECKING

from PIL import ImageTk

from feedback_store.pages import page_answer, read_page_answer
from feedback_store.records import NO_ANSWER
from pipeline.config.judging_keys import KeysConfig
from pipeline.kinds import Screen
from pipeline.ui.tk_theme import ENLARGED, GROUND, fitted
from stages.collect.actions import COMMON_ACTIONS
from stages.collect.image_renditions import TILE_PIXELS
from stages.collect.tk.choice_buttons import add_button
from stages.collect.tk.class_dialog import choose_class
from stages.collect.tk.tile_preview import TilePreview

if TYPE_CHECKING:
    from stages.collect.tk.window import Window

GAP, BORDER = 6, 4
MAX_DIGITS = 10  # with more classes, a digit begins a search
MARK, CURSOR, INK = "#c05a00", "#1a5fb4", "#1f2523"


def free_letters(keys: KeysConfig) -> list[str]:
    """The letters that are keys of no action."""
    taken = {key.lower() for action in COMMON_ACTIONS for key in getattr(keys, action)}
    return [letter for letter in ascii_lowercase if letter not in taken]


def best_columns(count: int, width: int, height: int) -> tuple[int, int]:
    """Number of columns with which square tiles are largest, and their side in pixels."""

    def side(columns: int) -> int:
        rows = -(-count // columns)
        return min((width - GAP) // columns, (height - GAP) // rows) - GAP

    columns = max(range(1, count + 1), key=side)
    return columns, max(1, side(columns))


class TilePage:
    """The page on the canvas, and its two buttons.

    Args:
        window: whose canvas, question and frame of choices it fills; the frame is emptied before every question.
    """

    def __init__(self, window: Window, classes: Sequence[str]) -> None:
        self.canvas, self.choices, self.question = window.canvas, window.choices, window.question
        self.pictures, self.classes, self.answer = window.pictures, classes, window.answer
        self.letters = free_letters(window.settings.keys)
        self.images: tuple[str, ...] = ()
        self.label, self.marked, self.place = "", set[int](), 0
        self._columns, self._side, self._left, self._top = 1, 1, 0, 0
        self._marking: bool | None = None  # what a drag does to tiles
        self._photos: dict[tuple[str, int], ImageTk.PhotoImage] = {}
        self.canvas.bind("<Button-1>", self._press)
        self.canvas.bind("<B1-Motion>", self._drag)
        self.preview = TilePreview(self.canvas, self.pictures)
        self.canvas.bind("<Motion>", self._hover)
        self.canvas.bind("<Leave>", lambda _: self.preview.point(None, 0, 0))

    def show(self, page: Screen, before: str = "") -> None:
        """Show another page; `before` is an answer to it that was taken back."""
        self.images, self.label, self.marked, self.place = page.images, page.details["label"], set(), 0
        if before and before not in NO_ANSWER:
            self.label, places = read_page_answer(before)
            self.marked = set(places)
        self._photos.clear()
        add_button(self.choices, "Another class  [/]", self._pick, "TButton", columns=2)
        add_button(self.choices, "", self._send, "Choice.TButton", columns=2)
        self._update()

    def leave(self) -> None:
        """Show no page: the mouse does nothing until the next one."""
        self.images = ()
        self.preview.point(None, 0, 0)

    def preload(self, images: Sequence[str]) -> None:
        """Load tiles in the background."""
        self.pictures.preload(images, TILE_PIXELS)

    def enlarged(self) -> tuple[str, ...]:
        """The image to enlarge: that of the cursor."""
        return self.images[self.place : self.place + 1]

    def key(self, keysym: str, char: str) -> bool:
        """Whether a key press was used."""
        steps = {"Left": -1, "Right": 1, "Up": -self._columns, "Down": self._columns}
        letter = char.lower()
        if keysym in steps:
            self._go(self.place + steps[keysym])
        elif keysym == "space":
            self._set(self.place, self.place not in self.marked)
        elif keysym in ("Return", "KP_Enter"):
            self._send()
        elif char == "/":
            self._pick()
        elif char and char in "0123456789":
            self._digit(char)
        elif letter and letter in self.letters:
            place = self.letters.index(letter) + (len(self.letters) if char.isupper() else 0)
            if place < len(self.images):
                self._go(place)
                self._set(place, place not in self.marked)
        else:
            return False
        return True

    def draw(self) -> None:
        """Draw all tiles as large as the canvas allows."""
        canvas, count = self.canvas, len(self.images)
        self.preview.hide()
        canvas.delete("all")
        if not count:
            return
        width, height = canvas.winfo_width(), canvas.winfo_height()
        self._columns, self._side = best_columns(count, width, height)
        step = self._side + GAP
        self._left = (width - self._columns * step + GAP) // 2
        self._top = (height - -(-count // self._columns) * step + GAP) // 2
        for place, image in enumerate(self.images):
            row, column = divmod(place, self._columns)
            self._tile(place, image, self._left + column * step, self._top + row * step)

    def _tile(self, place: int, image: str, x: int, y: int) -> None:
        canvas, side = self.canvas, self._side
        inner = max(8, side - 2 * BORDER)
        if (image, inner) not in self._photos and (picture := self.pictures.load(image, TILE_PIXELS)) is not None:
            self._photos[image, inner] = fitted(picture, inner, inner, ENLARGED)
        middle = (x + side // 2, y + side // 2)
        if photo := self._photos.get((image, inner)):
            canvas.create_image(*middle, image=photo)
        else:
            canvas.create_text(*middle, text="unreadable")
        marked = place in self.marked
        if marked:
            canvas.create_rectangle(x, y, x + side, y + side, fill=GROUND, stipple="gray50", outline=MARK, width=BORDER)
            canvas.create_oval(x + side - 28, y + 6, x + side - 6, y + 28, fill=MARK, outline="")
            canvas.create_text(x + side - 17, y + 17, text="✕", fill="white")
        if place == self.place:
            away = BORDER if marked else 0
            canvas.create_rectangle(x + away, y + away, x + side - away, y + side - away, outline=CURSOR, width=2)
        if letter := self._letter(place):
            canvas.create_rectangle(x + 6, y + 6, x + 30, y + 24, fill=GROUND, outline="")
            canvas.create_text(x + 18, y + 15, text=letter, fill=INK)

    def _letter(self, place: int) -> str:
        if place < len(self.letters):
            return self.letters[place].upper()
        return f"⇧{self.letters[place - len(self.letters)].upper()}" if place < 2 * len(self.letters) else ""

    def _update(self) -> None:
        self.question["text"] = f'Which of these are not "{self.label}"?'
        count = len(self.marked)
        text = f"Confirm {count} {'exception' if count == 1 else 'exceptions'}" if count else f'All are "{self.label}"'
        for button in self.choices.winfo_children()[1:]:
            button["text"] = f"{text}  [⏎]"
        self.draw()

    def _go(self, place: int) -> None:
        if 0 <= place < len(self.images):
            self.place = place
            self._update()

    def _set(self, place: int, on: bool) -> None:
        if on:
            self.marked.add(place)
        else:
            self.marked.discard(place)
        self._update()

    def _digit(self, char: str) -> None:
        if len(self.classes) > MAX_DIGITS:
            self._pick(char)
        elif int(char) < len(self.classes):
            self._set_label(self.classes[int(char)])

    def _pick(self, typed: str = "") -> None:
        choose_class(self.canvas, self.classes, self._set_label, typed)

    def _set_label(self, label: str) -> None:
        self.label = label
        self._update()

    def _send(self) -> None:
        self.answer(page_answer(self.label, self.marked))

    def _at(self, event: tk.Event[tk.Misc]) -> int | None:
        """The tile under the mouse."""
        step = self._side + GAP
        column, row = (event.x - self._left) // step, (event.y - self._top) // step
        place = row * self._columns + column
        return place if 0 <= column < self._columns and 0 <= place < len(self.images) and row >= 0 else None

    def _hover(self, event: tk.Event[tk.Misc]) -> None:
        place = self._at(event)
        image = self.images[place] if place is not None else None
        self.preview.point(image, self._left + (place or 0) % self._columns * (self._side + GAP), self._side)

    def _press(self, event: tk.Event[tk.Misc]) -> None:
        place = self._at(event)
        self._marking = place not in self.marked if place is not None else None
        self._drag(event)

    def _drag(self, event: tk.Event[tk.Misc]) -> None:
        place = self._at(event)
        if place is not None and self._marking is not None:
            self.place = place
            self._set(place, self._marking)
