"""A real Chromium, driven by keys alone: what is pressed is what the CSV holds, and the next question is there at once.

IMAGE_RLHF_SCREENSHOTS names a folder to put pictures of every page into.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from typing import Any

import pytest
from support.browser import CHROMIUM, shot, until
from support.judging_page import NEXT_IMAGE, asked, wait_stored

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)
ITEMS = 50
THINKING_MS = 80  # ten answers a second: nobody is as fast
MANY = tuple(f"kind {number:02d}" for number in range(37))


# Kind of question: the keys pressed in turn, and what each stands for given the answers on the buttons.
KEYS: dict[str, list[tuple[str, Callable[[list[str]], str]]]] = {
    "comparison": [
        ("1", lambda on: on[0]),
        ("ArrowRight", lambda on: on[2]),
        ("t", lambda on: "tie"),
        ("2", lambda on: on[2]),
        ("ArrowLeft", lambda on: on[0]),
        ("c", lambda on: "cant_tell"),
        ("B", lambda on: "bad_image"),
    ],
    "image_comparison": [
        ("1", lambda on: on[0]),
        ("2", lambda on: on[1]),
        ("t", lambda on: "tie"),
        ("c", lambda on: "cant_tell"),
        ("ArrowLeft", lambda on: on[0]),
    ],
    "label": [
        ("0", lambda on: "ant"),
        ("2", lambda on: "wasp"),
        ("1", lambda on: "bee"),
        ("b", lambda on: "bad_image"),
    ],
    "verdict": [("y", lambda on: "yes"), ("n", lambda on: "no"), ("n", lambda on: "no"), ("c", lambda on: "cant_tell")],
    "rating": [(str(level), lambda on, level=level: str(level)) for level in range(1, 6)],
}


OFTEN = ("label",)  # the other kinds are asked in `make test-long`


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=[pytest.mark.long] * (kind not in OFTEN)) for kind in KEYS])
def test_fifty_items_by_keyboard_alone(kind: str, page: Any, place: Any, live: Any) -> None:
    """Three answers are taken back, the connection breaks in the middle, and the CSV holds exactly what was pressed."""
    where = place(kind, count=ITEMS)
    server = live(where)
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    shot(page, f"{kind}-light")
    pressed: list[tuple[tuple[str, ...], str]] = []
    for number in range(ITEMS + 3):
        if number == 20:
            wait_stored(page)
            page.context.set_offline(True)
        if number == 23:
            page.wait_for_selector("#waiting:not([hidden])")
            assert "3 answers wait" in page.inner_text("#waiting")
            shot(page, f"{kind}-offline")
            page.context.set_offline(False)
            wait_stored(page)
        if number == 33:
            for _ in range(3):
                page.keyboard.press("u")
                taken_back = pressed.pop()
                until(page, f"(src) => !({NEXT_IMAGE})(src)", taken_back[0][0])
        before = asked(page)
        assert before["images"], "the picture is there when the question is"
        assert before["shown"], "and decoded"
        page.wait_for_timeout(THINKING_MS)
        key, stands_for = KEYS[kind][number % len(KEYS[kind])]
        page.keyboard.press(key)
        pressed.append((tuple(before["images"]), stands_for(before["answers"])))
        until(
            page,
            "(before) => !document.getElementById('finished').hidden || document.getElementById('question').textContent "
            "+ [...document.querySelectorAll('#stage img')].map((i) => i.getAttribute('src')) !== before",
            before["text"] + ",".join(before["images"]),
        )
    wait_stored(page)
    page.wait_for_selector("#finished:not([hidden])")
    assert "Thank you" in page.inner_text("#question")
    shot(page, f"{kind}-finished")
    store = server.desk.assignments.store
    stored = store.comparisons() if kind.endswith("comparison") else store.per_image_judgments()
    assert list(stored["choice" if kind.endswith("comparison") else "answer"]) == [answer for _, answer in pressed]
    name = server.desk.presenter._name
    images = stored[
        ["image_a", "image_b"] if kind == "image_comparison" else ["image_a" if kind == "comparison" else "image"]
    ]
    for (shown, _), row, first in zip(
        pressed, images.to_numpy(), stored.get("shown_first", ["a"] * ITEMS), strict=True
    ):
        order = row[::-1] if first == "b" and kind == "image_comparison" else row
        assert list(shown) == [f"images/{name('ann', image)}" for image in order]
    every = store.all_rows("pairwise") if kind.endswith("comparison") else store.all_rows("per_image")
    assert len(every) == ITEMS + 3 + 3, "what was taken back is there, and who took it back"
    assert (stored["response_ms"].astype(int) >= 0).all()
    latencies = page.evaluate("performance.getEntriesByName('key to next question').map((entry) => entry.duration)")
    online = sorted(latencies)[: len(latencies)]
    p95 = statistics.quantiles(online, n=20)[-1]
    print(
        f"\n{kind}: key press to next question, {len(online)} times: median {statistics.median(online):.1f} ms, 95 % {p95:.1f} ms"
    )
    assert len(online) >= ITEMS - 5


def test_type_ahead_beyond_ten_classes(page: Any, place: Any, live: Any) -> None:
    server = live(place("label", count=10, classes=MANY))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    shot(page, "many-classes")
    presses = [
        ["1", "2"],
        ["4"],
        ["3", "Enter"],
        ["/", "k", "i", "n", "d", " ", "2", "1", "Enter"],
        ["0", "Enter"],
        ["s"],
        ["3", "6"],
    ]
    for keys in presses:
        before = asked(page)["images"]
        for key in keys:
            page.keyboard.press(key)
        until(page, NEXT_IMAGE, before[0])
    wait_stored(page)
    answers = list(server.desk.assignments.store.per_image_judgments()["answer"])
    assert answers == ["kind 12", "kind 04", "kind 03", "kind 21", "kind 00", "kind 36"]


def test_keys_can_be_changed(page: Any, place: Any, live: Any) -> None:
    server = live(place("verdict", count=6, keys={"yes": ["j"], "undo": ["Delete"]}))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    assert "J" in page.inner_text("#choices")
    for key in ("j", "y", "Delete"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    wait_stored(page)
    store = server.desk.assignments.store
    assert list(store.all_rows("per_image")["answer"]) == ["yes", "yes"]
    assert len(store.per_image_judgments()) == 0


@pytest.mark.long
def test_nothing_free_says_until_when(browser: Any, place: Any, live: Any) -> None:
    server = live(place(count=3, lease_minutes=30), "ann", "bob")
    pages = []
    for who in ("ann", "bob"):
        context = browser.new_context()
        pages.append(context.new_page())
        pages[-1].goto(server.link(who))
        until(pages[-1], "() => document.getElementById('question').textContent !== 'Loading …'")
    pages[1].wait_for_selector("#finished:not([hidden])")
    assert re.search(r"free at \d\d?:\d\d", pages[1].inner_text("#finished"))
    shot(pages[1], "nothing-free")
    pages[0].close()  # what it held goes back at once
    pages[1].wait_for_selector("#stage img", timeout=15_000)
    for page in pages[1:]:
        page.context.close()


def test_two_links_in_one_browser_do_not_mix(browser: Any, place: Any, live: Any) -> None:
    server = live(place(count=20), "ann", "bob")
    context = browser.new_context()
    pages = {who: context.new_page() for who in ("ann", "bob")}
    for who, page in pages.items():
        page.goto(server.link(who))
        page.wait_for_selector("#stage img")
    for who in ("ann", "bob", "ann"):
        pages[who].keyboard.press("1")
        wait_stored(pages[who])
    assert list(server.desk.assignments.store.comparisons()["annotator"]) == ["ann", "bob", "ann"]
    context.close()


def test_the_owner_sees_all_live(browser: Any, place: Any, live: Any) -> None:
    server = live(place(count=10, judgments_per_item=2), "ann", "bob")
    owner = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
    owner.goto(server.link(""))
    owner.wait_for_selector("#people td")
    assert owner.inner_text("#title") == "0 of 20 answers"
    for who, key in (("ann", "1"), ("bob", "2")):
        page = browser.new_context().new_page()
        page.goto(server.link(who))
        for _ in range(10):
            page.wait_for_selector("#stage img")
            before = asked(page)["images"]
            page.keyboard.press(key)
            until(page, f"(src) => !document.getElementById('finished').hidden || ({NEXT_IMAGE})(src)", before[0])
        wait_stored(page)
    until(owner, "() => document.getElementById('title').textContent === '20 of 20 answers'")
    owner.wait_for_selector("#annotators td")
    until(owner, "() => document.querySelectorAll('#annotators tbody tr').length === 2")
    shot(owner, "owner")
    owner.context.close()
