"""The grid question in the Tk window: by real keys, and by a real mouse."""

from __future__ import annotations

import time
import tkinter as tk
from types import SimpleNamespace
from typing import Any

from PIL import Image
from support.display import needs_display
from support.judging_window import Driven

from pipeline.config.judging_keys import KeysConfig
from pipeline.kinds import Screen
from stages.collect.tk.class_dialog import matching
from stages.collect.tk.tiles import TilePage, best_columns, free_letters


def test_columns_make_tiles_as_large_as_possible() -> None:
    """24 tiles on 900 x 500 pixels: in 7 columns and 4 rows a tile has (500 - 6) / 4 - 6 = 117 pixels, in 8 and 3
    (900 - 6) / 8 - 6 = 105, in 6 and 4 again 117; the first of the best is taken."""
    assert best_columns(24, 900, 500) == (6, 117)
    assert best_columns(6, 300, 600) == (2, 141), "one column of six has 93 pixels each"


def test_letters_that_no_action_has() -> None:
    assert "".join(free_letters(KeysConfig())) == "adefghijklmnopqrtvwxy"
    assert "".join(free_letters(KeysConfig(skip=["F5"], help=["A"]))) == "defghijklmnopqrstvwxy"


def test_classes_by_number_and_name() -> None:
    names = [f"kind {number}" for number in range(30)]
    assert matching(names, "2")[:3] == ["kind 2", "kind 20", "kind 21"]
    assert matching(names, "d 19") == ["kind 19"]
    assert matching(names, "") == names


def answers(driven: Driven, count: int) -> list[tuple[str, str]]:
    rows = driven.wait_rows(count)
    return list(zip(rows["label"], rows["answer"], strict=True))[-6:]


def marks(*exceptions: int) -> list[str]:
    return ["marked" if place in exceptions else "unmarked" for place in range(6)]


@needs_display
def test_pages_by_real_keys(display: str, place: Any) -> None:
    """Arrows and space, letters, another class by its digit; undo brings the page back with its marks."""
    where = place("grid", count=3, grid_tiles=6)
    label = where.plan.items[0].subject.labels[0]
    driven = Driven(display, where)
    driven.press("Right", "space", "Right", "f", "e", "e")  # f is the fourth of the free letters
    driven.picture("grid")
    driven.press("Return")
    assert answers(driven, 6) == [(label, cell) for cell in marks(1, 3)]
    driven.press("2", "Return")
    assert answers(driven, 12) == [("wasp", "unmarked")] * 6
    driven.press("u")
    driven.wait_rows(18)
    driven.press("u")
    driven.wait_rows(24)
    assert len(driven.store.per_image_judgments()) == 0
    driven.press("a", "Return")
    assert answers(driven, 30) == [(label, cell) for cell in marks(0, 1, 3)]
    rows = driven.store.per_image_judgments()
    assert list(rows["image"]) == list(where.plan.items[0].images)
    driven.press("s", "c")
    assert answers(driven, 36) == [(where.plan.items[2].subject.labels[0], "cant_tell")] * 6
    driven.close()


@needs_display
def test_pages_by_mouse(display: str, place: Any) -> None:
    """A click marks the tile that it is on, and a click on the second button confirms."""
    where = place("grid", count=2, grid_tiles=6)
    driven = Driven(display, where)
    time.sleep(0.5)
    driven._xdotool("mousemove", "--window", driven.window, "300", "250", "click", "1")
    driven.press("Return")
    first = [cell for _, cell in answers(driven, 6)]
    assert first.count("marked") == 1
    driven._xdotool("mousemove", "--window", driven.window, "150", "250", "mousedown", "1")
    for x in range(150, 760, 20):
        driven._xdotool("mousemove", "--window", driven.window, str(x), "250")
    driven._xdotool("mouseup", "1")
    driven.picture("grid-dragged")
    driven.press("Return")
    assert [cell for _, cell in answers(driven, 12)] == marks(0, 1, 2), "the first row of three"
    driven.close()


@needs_display
def test_a_tile_under_the_mouse_is_enlarged(display: str) -> None:
    """After a while, and beside the tile; a mark, another tile and leaving the canvas take it away."""
    root = tk.Tk(screenName=display)
    canvas = tk.Canvas(root, width=600, height=400)
    canvas.pack()
    pictures = SimpleNamespace(load=lambda image, side: Image.new("RGB", (side, side)))
    window = SimpleNamespace(
        canvas=canvas,
        choices=tk.Frame(root),
        question=tk.Label(root),
        pictures=pictures,
        settings=SimpleNamespace(keys=KeysConfig()),
        answer=None,
    )
    page = TilePage(window, ("ant", "bee"))  # type: ignore[arg-type]
    root.update()
    page.show(Screen("", tuple("abcdef"), (), details={"label": "ant"}))

    def shown() -> list[float] | None:
        boxes = canvas.find_withtag("preview")
        return canvas.coords(boxes[0]) if boxes else None

    def wait_for(some: bool) -> None:
        give_up = time.monotonic() + 30
        while bool(shown()) != some:
            assert time.monotonic() < give_up
            root.update()
            time.sleep(0.01)

    canvas.event_generate("<Motion>", x=100, y=100)  # the first of three columns
    assert shown() is None, "not at once"
    wait_for(True)
    left, top, right, bottom = shown() or []
    assert left >= 190, "it leaves the tile itself free"
    assert (right - left, bottom - top) > (200, 200), "larger than a tile"
    assert min(top, 400 - bottom) >= 0
    page.key("space", " ")
    assert shown() is None
    canvas.event_generate("<Motion>", x=500, y=300)  # the last column: it is on the left
    wait_for(True)
    assert (shown() or [])[2] <= 410
    canvas.event_generate("<Leave>")
    wait_for(False)
    canvas.event_generate("<Motion>", x=100, y=100)
    page.leave()
    page.draw()
    canvas.event_generate("<Motion>", x=100, y=100)
    canvas.event_generate("<Button-1>", x=100, y=100)
    assert not page.marked - {0}, "without a page the mouse does nothing"
    root.destroy()


@needs_display
def test_audit_questions_between_pages(display: str, place: Any) -> None:
    """They are label choices: the keys and clicks of pages do nothing to them."""
    driven = Driven(display, place("grid", count=3, grid_tiles=6, audit_fraction=0.3))
    driven.press("Return")
    driven.wait_rows(6)
    driven._xdotool("mousemove", "--window", driven.window, "300", "250", "click", "1")
    driven.picture("grid-audit")
    driven.press("Return", "1")
    rows = driven.wait_rows(7)
    assert (rows["question"].iloc[-1], rows["source"].iloc[-1], rows["answer"].iloc[-1]) == ("label", "tk:audit", "bee")
    driven.close()
