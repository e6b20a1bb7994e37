"""The page in a real Chromium: on phones, in the dark, with large text, by touch, read aloud."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.browser import CHROMIUM, shot
from support.judging_page import asked, wait_stored

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)


def test_buttons_touch_zoom_help_and_skip(browser: Any, place: Any, live: Any) -> None:
    server = live(place(count=6))
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    page = context.new_page()
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    shot(page, "comparison-phone-dark")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways"
    before = asked(page)
    page.tap("#choices button:first-child")
    page.tap("#action-skip")
    page.tap("#action-help")
    shot(page, "help-phone-dark")
    assert page.is_visible("#help")
    page.tap("#help-close")
    page.tap("#action-zoom")
    page.wait_for_selector("#zoom img")
    shot(page, "zoom-phone-dark")
    page.tap("#zoom")
    assert not page.is_visible("#zoom")
    wait_stored(page)
    stored = server.desk.assignments.store.comparisons()
    assert list(stored["choice"]) == [before["answers"][0]]
    context.close()


OFTEN = "comparison"  # the other kinds are looked at in `make test-long`
KINDS = ["comparison", "image_comparison", "label", "verdict", "rating"]


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind != OFTEN)) for kind in KINDS])
def test_dark_phone_and_large_text(kind: str, page: Any, place: Any, live: Any) -> None:
    """At phone width, and at 200 % zoom of a laptop's screen, all is reachable and nothing overlaps."""
    server = live(place(kind, count=6))
    for name, width, height, scheme in (
        ("phone", 390, 844, "light"),
        ("zoomed", 640, 400, "light"),
        ("wide-dark", 1440, 900, "dark"),
    ):
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.goto(server.link("ann"))
        page.wait_for_selector("#stage img")
        shot(page, f"{kind}-{name}")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        boxes = page.eval_on_selector_all(
            "#stage img, #choices button, #actions button",
            "all => all.map((one) => { const b = one.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })",
        )
        for number, (left, top, right, bottom) in enumerate(boxes):
            assert right - left >= 24, name
            assert bottom - top >= 24, name
            for other in boxes[number + 1 :]:
                inside = (
                    min(right, other[2]) - max(left, other[0]) > 1 and min(bottom, other[3]) - max(top, other[1]) > 1
                )
                assert not inside or kind == "image_comparison", name


def test_a_screen_reader_is_told(page: Any, place: Any, live: Any) -> None:
    server = live(place("image_comparison", count=6))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    assert page.get_attribute("#question", "aria-live") == "polite"
    assert page.evaluate("document.activeElement.id") == "question"
    assert re.match(r'Which image is the better example of "(ant|bee|wasp)"\?', page.inner_text("#question"))
    assert page.eval_on_selector_all("#stage img", "all => all.map((i) => i.alt)") == ["Left image", "Right image"]
    unnamed = page.eval_on_selector_all(
        "button", "all => all.filter((b) => !b.innerText.trim() && !b.querySelector('img[alt]'))"
    )
    assert unnamed == []
    assert page.get_attribute("#bar", "role") == "progressbar"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_stored(page)
    assert len(server.desk.assignments.store.comparisons()) == 1, "Tab and Enter answer, too"


def test_class_names_are_text(page: Any, place: Any, live: Any) -> None:
    nasty = (
        "<img src=x onerror=document.title='broken'>",
        "</script><script>document.title='broken'</script>",
        "a & b",
    )
    server = live(place("label", count=5, classes=nasty))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    shown = page.eval_on_selector_all("#choices button span", "all => all.map((one) => one.textContent)")
    assert tuple(shown) == nasty
    assert page.title() == "Judge images"
    shot(page, "script-in-a-class-name")
    page.keyboard.press("0")
    wait_stored(page)
    assert server.desk.assignments.store.per_image_judgments()["answer"].iloc[0] == nasty[0]
