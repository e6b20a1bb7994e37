"""The page of predictions on every screen, by keyboard and for a screen reader."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from support.browser import shot, until
from support.predict_page import bring, opened, read


@pytest.mark.long
def test_wide_phone_dark_and_large_text(browser: Any, live: Any, picture: Callable[..., bytes]) -> None:
    """Nothing is cut off or to be scrolled sideways, whatever the screen."""
    server = live(classes=("ant", "a class with a rather long name", "Donaudampfschifffahrtsgesellschaftskapitän"))
    for name, size, scheme in (
        ("wide", (1280, 900), "light"),
        ("wide-dark", (1280, 900), "dark"),
        ("phone", (390, 844), "light"),
        ("phone-dark", (390, 844), "dark"),
        ("zoomed", (640, 400), "light"),
        ("narrow", (320, 568), "light"),
    ):
        with closing(
            browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        ) as context:
            page = context.new_page()
            opened(page, server)
            shot(page, f"serve-empty-{name}")
            bring(
                page,
                {"photo.png": picture(1, (300, 200)), "a very " * 20 + "long name.png": picture(2), "n.jpg": b"text"},
            )
            read(page, 3)
            shot(page, f"serve-{name}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
            cut = page.evaluate(
                "[...document.querySelectorAll('.bars th, .number, .verdict, button')]"
                ".filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"
            )
            assert cut == [], name


def test_keyboard_and_screen_reader(page: Any, live: Any, picture: Callable[..., bytes]) -> None:
    opened(page, live())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "choose"
    page.evaluate(  # the chooser itself is the browser's
        "document.getElementById('files').addEventListener('click', (event) => "
        "{ event.preventDefault(); document.body.dataset.asked = 'yes'; })"
    )
    page.keyboard.press("Enter")
    until(page, "() => document.body.dataset.asked === 'yes'")
    assert page.get_attribute("#status", "role") == "status"
    bring(page, {"a.png": picture()})
    read(page, 1)
    card = page.query_selector(".card")
    assert page.inner_text(f"#{card.get_attribute('aria-labelledby')}") == "a.png"
    headings = page.eval_on_selector_all(".bars th", "all => all.map((one) => one.scope)")
    assert headings == ["col"] * 3 + ["row"] * 3
    assert page.eval_on_selector_all("button", "all => all.filter((one) => !one.innerText.trim())") == []
