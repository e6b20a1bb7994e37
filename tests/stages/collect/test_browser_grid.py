"""The grid question in a real Chromium: by keyboard alone, by mouse alone, by touch; undo, another class, zoom, speed."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.browser import CHROMIUM, shot, until
from support.collect_server import CLASSES
from support.grid_page import OTHER_PAGE, asked_label, centre, marked, open_page, rows, stored, tiles
from support.judging_page import wait_stored

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)


def test_24_tiles_by_keyboard_alone(page: Any, place: Any, live: Any) -> None:
    """Three exceptions by arrows, space and letters; Enter; then another class by a digit, and undo of that page."""
    server = live(place("grid", count=4))
    first = open_page(page, server)
    label = asked_label(page)
    assert len(first) == 24
    columns = int(page.eval_on_selector(".tiles", "(box) => getComputedStyle(box).getPropertyValue('--columns')"))
    for key in ("ArrowRight", "ArrowRight", " ", "ArrowDown", " ", "ArrowLeft", " ", " ", "a", "a"):
        page.keyboard.press(key)
    assert marked(page) == [1, 1 + columns], "the first arrow shows the cursor, on the first tile"
    page.keyboard.press("Shift+D")  # 21 letters belong to no action; D is the second of them
    assert marked(page) == [1, 1 + columns, 22]
    shot(page, "grid-keyboard")
    page.keyboard.press("Enter")
    until(page, OTHER_PAGE, first[0])
    second = tiles(page)
    assert marked(page) == []
    page.keyboard.press("2")
    assert asked_label(page) == "wasp"
    page.keyboard.press("Enter")
    until(page, OTHER_PAGE, second[0])
    wait_stored(page)
    expected = rows(first, label, 1, 1 + columns, 22)
    assert stored(server) == [*expected, *rows(second, "wasp")]
    for _ in range(2):
        page.keyboard.press("u")
    until(page, "(src) => document.querySelector('.tile img').getAttribute('src') === src", first[0])
    assert marked(page) == [1, 1 + columns, 22], "the marks are as they were"
    wait_stored(page)
    assert stored(server) == []
    page.keyboard.press(" ")
    page.keyboard.press("Enter")
    wait_stored(page)
    assert stored(server) == rows(first, label, 0, 1, 1 + columns, 22)


def test_24_tiles_by_mouse_alone(page: Any, place: Any, live: Any) -> None:
    """Three exceptions by clicks and a drag, the class by its dialog, and the button to confirm; undo by its button."""
    server = live(place("grid", count=4))
    first = open_page(page, server)
    label = asked_label(page)
    page.mouse.click(*centre(page, 5))
    page.mouse.click(*centre(page, 9))
    page.mouse.click(*centre(page, 9))
    page.mouse.move(*centre(page, 0))
    page.mouse.down()
    page.mouse.move(*centre(page, 1), steps=6)
    page.mouse.up()
    page.mouse.move(*centre(page, 3))
    assert marked(page) == [0, 1, 5]
    page.mouse.click(*centre(page, 12))
    page.mouse.move(*centre(page, 12))
    page.mouse.down()
    page.mouse.move(*centre(page, 13), steps=6)
    page.mouse.up()
    assert marked(page) == [0, 1, 5], "a drag that begins on a marked tile takes marks back"
    assert page.inner_text(".confirm").endswith("Confirm 3 exceptions")
    page.click(".confirm")
    until(page, OTHER_PAGE, first[0])
    second = tiles(page)
    page.click("text=Another class")
    page.click("#classes button:has-text('bee')")
    assert asked_label(page) == "bee"
    page.click(".confirm")
    until(page, OTHER_PAGE, second[0])
    wait_stored(page)
    assert stored(server) == [*rows(first, label, 0, 1, 5), *rows(second, "bee")]
    page.click("#action-undo")
    until(page, "(src) => document.querySelector('.tile img').getAttribute('src') === src", second[0])
    wait_stored(page)
    assert stored(server) == rows(first, label, 0, 1, 5)
    assert asked_label(page) == "bee"


def test_a_tile_is_enlarged_on_hover_and_by_key(page: Any, place: Any, live: Any) -> None:
    server = live(place("grid", count=2))
    shown = open_page(page, server)
    page.mouse.move(*centre(page, 4))
    page.mouse.move(*centre(page, 5))
    page.wait_for_selector(".tile-preview:not([hidden]) img")
    until(page, "(src) => document.querySelector('.tile-preview img').getAttribute('src') === src", shown[5][:-10])
    shot(page, "grid-hover")
    page.mouse.click(*centre(page, 5))
    assert page.is_hidden(".tile-preview")
    assert marked(page) == [5]
    for key in ("ArrowRight", "ArrowRight", "z"):
        page.keyboard.press(key)
    page.wait_for_selector("#zoom img")
    sources = page.eval_on_selector_all("#zoom img", "(images) => images.map((image) => image.getAttribute('src'))")
    assert [src.split("?")[0] for src in sources] == [shown[1][:-10]]
    page.keyboard.press("z")
    assert page.is_hidden("#zoom")


def test_many_classes_are_searched_by_name(page: Any, place: Any, live: Any) -> None:
    names = tuple(f"kind {number:02d}" for number in range(37))
    server = live(place("grid", count=2, classes=names))
    open_page(page, server)
    page.keyboard.press("/")
    page.keyboard.type("d 21")
    shot(page, "grid-classes")
    page.keyboard.press("Enter")
    assert asked_label(page) == "kind 21"
    for key in ("3", "4", "Enter"):
        page.keyboard.press(key)
    assert asked_label(page) == "kind 34", "a digit begins the search"
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    assert asked_label(page) == "kind 34"
    page.keyboard.press("Enter")
    wait_stored(page)
    assert {label for _, label, _ in stored(server)} == {"kind 34"}


@pytest.mark.long
@pytest.mark.parametrize("count", [6, 24, 60])
def test_wide_phone_dark_and_large_text(count: int, page: Any, place: Any, live: Any, pictures: Path) -> None:
    draw_many(pictures, 80)
    server = live(place("grid", count=2, grid_tiles=count))
    for name, width, height, scheme in (
        ("wide", 1440, 900, "light"),
        ("wide-dark", 1440, 900, "dark"),
        ("phone-dark", 390, 844, "dark"),
        ("zoomed", 640, 400, "light"),
    ):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        open_page(page, server)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("f")
        shot(page, f"grid-{count}-{name}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        boxes = page.eval_on_selector_all(
            ".tile", "(all) => all.map((one) => [one.getBoundingClientRect()].map((b) => [b.left, b.top, b.width])[0])"
        )
        widths = {round(box[2]) for box in boxes}
        assert len(widths) == 1
        assert min(widths) >= 72, f"{name}: tiles can be recognised and tapped"
        assert len({(round(box[0]), round(box[1])) for box in boxes}) == count, "no tile is over another"
        if width == 1440:
            assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "all fits on a screen"


def draw_many(pictures: Path, count: int) -> None:
    """More pictures, of 224 pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (count, 14, 14, 3), dtype=np.uint8)
    for number in range(count):
        smooth = Image.fromarray(noise[number]).resize((224, 224), Image.Resampling.BICUBIC)
        smooth.save(pictures / "train" / CLASSES[number % 3] / f"more-{number}.png")


@pytest.mark.long
def test_60_tiles_appear_at_once(page: Any, place: Any, live: Any, pictures: Path) -> None:
    """Sixty pictures of 224 pixels: the next page was loaded before, and is there within 150 ms (the median of five)."""
    draw_many(pictures, 330)
    server = live(place("grid", count=6, grid_tiles=60))
    open_page(page, server)
    for _ in range(5):
        before = page.inner_text("#counts")
        page.wait_for_timeout(1500)
        page.keyboard.press("Enter")
        until(page, "(text) => document.getElementById('counts').textContent !== text", before)
        page.wait_for_timeout(200)
    times = page.evaluate("performance.getEntriesByName('key to next question').map((entry) => entry.duration)")
    print(f"\n60 tiles of 224 pixels: {', '.join(f'{ms:.0f}' for ms in times)} ms")
    assert len(times) >= 4
    assert statistics.median(times) < 150
