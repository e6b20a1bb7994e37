"""What is on the page of the grid question, read by tests in a browser."""

from __future__ import annotations

from typing import Any

from support.browser import until

SHOWN = "() => document.querySelectorAll('.tile').length > 0"
OTHER_PAGE = "(src) => document.querySelector('.tile img')?.getAttribute('src') !== src"


def open_page(page: Any, server: Any, who: str = "ann") -> list[str]:
    """Opens the link; the addresses of the tiles."""
    page.goto(server.link(who))
    until(page, SHOWN)
    return tiles(page)


def tiles(page: Any) -> list[str]:
    return page.eval_on_selector_all(".tile img", "(images) => images.map((image) => image.getAttribute('src'))")


def marked(page: Any) -> list[int]:
    return page.eval_on_selector_all(
        ".tile", "(tiles) => tiles.flatMap((tile, n) => (tile.getAttribute('aria-checked') === 'true' ? [n] : []))"
    )


def stored(server: Any) -> list[tuple[str, str, str]]:
    """Address, label and answer of every current row, in order."""
    frame, name = server.desk.assignments.store.per_image_judgments(), server.desk.presenter._name
    return [
        (f"images/{name('ann', image)}?tile=true", label, answer)
        for image, label, answer in zip(frame["image"], frame["label"], frame["answer"], strict=True)
    ]


def rows(shown: list[str], label: str, *exceptions: int) -> list[tuple[str, str, str]]:
    return [(src, label, "marked" if place in exceptions else "unmarked") for place, src in enumerate(shown)]


def asked_label(page: Any) -> str:
    return page.inner_text("#question").split('"')[1]


def centre(page: Any, place: int) -> tuple[float, float]:
    box = page.locator(".tile").nth(place).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
