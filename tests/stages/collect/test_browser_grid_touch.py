"""The grid question by touch in a real Chromium: taps, drags sideways, scrolling, and a long press."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browser import CHROMIUM, shot, until
from support.grid_page import OTHER_PAGE, asked_label, centre, marked, open_page, rows, stored
from support.judging_page import wait_stored

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)


@pytest.fixture
def phone(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    yield context.new_page()
    context.close()


class Finger:
    """Real touch events, as the browser itself handles them: it may scroll."""

    def __init__(self, page: Any) -> None:
        self.page, self.session = page, page.context.new_cdp_session(page)

    def _send(self, kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y} for x, y in points]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        self._send("touchStart", start)
        for step in range(1, steps + 1):
            share = step / steps
            self._send("touchMove", tuple(a + share * (b - a) for a, b in zip(start, end, strict=True)))
            self.page.wait_for_timeout(16)
        self._send("touchEnd")

    def down(self, place: tuple[float, float]) -> None:
        self._send("touchStart", place)

    def move(self, place: tuple[float, float]) -> None:
        self._send("touchMove", place)
        self.page.wait_for_timeout(50)

    def up(self) -> None:
        self._send("touchEnd")


def test_by_touch_on_a_phone(phone: Any, place: Any, live: Any) -> None:
    """Taps mark; the page scrolls and the button to confirm stays in sight."""
    server = live(place("grid", count=2))
    page = phone
    shown = open_page(page, server)
    label = asked_label(page)
    shot(page, "grid-phone")
    for number in (0, 3, 23, 3):
        page.locator(".tile").nth(number).scroll_into_view_if_needed()
        page.locator(".tile").nth(number).tap()
    assert marked(page) == [0, 23]
    shot(page, "grid-phone-marked")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing to scroll sideways"
    page.tap(".confirm")
    until(page, OTHER_PAGE, shown[0])
    wait_stored(page)
    assert stored(server) == rows(shown, label, 0, 23)


@pytest.mark.long
def test_a_drag_sideways_marks_and_one_upward_scrolls(phone: Any, place: Any, live: Any) -> None:
    server = live(place("grid", count=2))
    open_page(phone, server)
    finger = Finger(phone)
    finger.drag(centre(phone, 0), centre(phone, 2))
    assert marked(phone) == [0, 1, 2]
    finger.drag(centre(phone, 1), centre(phone, 2))
    assert marked(phone) == [0], "it began on a marked tile"
    finger.drag(centre(phone, 10), centre(phone, 1))
    until(phone, "() => scrollY > 50")
    assert marked(phone) == [0], "nothing is marked by scrolling"


@pytest.mark.long
def test_a_long_press_enlarges_and_marks_nothing(phone: Any, place: Any, live: Any) -> None:
    server = live(place("grid", count=2))
    shown = open_page(phone, server)
    finger = Finger(phone)
    finger.down(centre(phone, 4))
    phone.wait_for_selector(".tile-preview:not([hidden]) img")
    until(phone, "(src) => document.querySelector('.tile-preview img').getAttribute('src') === src", shown[4][:-10])
    shot(phone, "grid-long-press")
    finger.move(centre(phone, 5))
    finger.up()
    until(phone, "() => document.querySelector('.tile-preview').hidden")
    assert marked(phone) == []
