"""A real Chromium, driven by keys alone: what is pressed is what the CSV holds, and the next question is there at once.

IMAGE_RLHF_SCREENSHOTS names a folder to put pictures of every page into.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)
ITEMS, LIMIT_MS = 50, 50.0
THINKING_MS = 80  # ten answers a second: nobody is as fast
MANY = tuple(f"kind {number:02d}" for number in range(37))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    foreign: list[str] = []
    opened.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
    yield opened
    context.close()
    assert problems == []
    assert foreign == [], "no request leaves the machine"


def shot(page: Any, name: str) -> None:
    if folder := os.environ.get("IMAGE_RLHF_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")


def asked(page: Any) -> dict[str, Any]:
    """What is on the screen: the question, the pictures, and the answer that each button stands for."""
    return page.evaluate(
        """() => ({
            text: document.getElementById('question').textContent,
            images: [...document.querySelectorAll('#stage img')].map((image) => image.getAttribute('src')),
            shown: [...document.querySelectorAll('#stage img')].every((image) => image.complete && image.naturalWidth > 0),
            answers: [...document.querySelectorAll('#choices button, #stage button')].map((button) => button.dataset.answer),
            finished: !document.getElementById('finished').hidden,
        })"""
    )


def until(page: Any, true: str, arg: Any = None, timeout: float = 30.0) -> None:
    """Wait for a function of the page; playwright's own waiting evaluates strings, which the page's policy forbids."""
    give_up = time.monotonic() + timeout
    while not page.evaluate(true, arg):
        assert time.monotonic() < give_up, f"waited {timeout} s for {true}"
        page.wait_for_timeout(5)


NEXT_IMAGE = "(src) => document.querySelector('#stage img')?.getAttribute('src') !== src"


def wait_stored(page: Any) -> None:
    until(
        page, "() => Object.keys(localStorage).filter(k => k.startsWith('outbox')).every(k => localStorage[k] === '[]')"
    )


# Kind of question: the keys pressed in turn, and what each stands for given the answers on the buttons.
KEYS: dict[str, list[tuple[str, Callable[[list[str]], str]]]] = {
    "comparison": [
        ("1", lambda on: on[0]), ("ArrowRight", lambda on: on[2]), ("t", lambda on: "tie"), ("2", lambda on: on[2]),
        ("ArrowLeft", lambda on: on[0]), ("c", lambda on: "cant_tell"), ("B", lambda on: "bad_image"),
    ],
    "image_comparison": [
        ("1", lambda on: on[0]), ("2", lambda on: on[1]), ("t", lambda on: "tie"), ("c", lambda on: "cant_tell"),
        ("ArrowLeft", lambda on: on[0]),
    ],
    "label": [("0", lambda on: "ant"), ("2", lambda on: "wasp"), ("1", lambda on: "bee"), ("b", lambda on: "bad_image")],
    "verdict": [("y", lambda on: "yes"), ("n", lambda on: "no"), ("n", lambda on: "no"), ("c", lambda on: "cant_tell")],
    "rating": [(str(level), lambda on, level=level: str(level)) for level in range(1, 6)],
}  # fmt: skip


@pytest.mark.parametrize("kind", list(KEYS))
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
        assert before["shown"], "the picture is there when the question is"
        page.wait_for_timeout(THINKING_MS)
        key, stands_for = KEYS[kind][number % len(KEYS[kind])]
        page.keyboard.press(key)
        pressed.append((tuple(before["images"]), stands_for(before["answers"])))
        until(
            page,
            "(before) => !document.getElementById('finished').hidden || document.getElementById('question').textContent "
            "+ [...document.querySelectorAll('#stage img')].map((i) => i.getAttribute('src')) !== before",
            before["text"] + ",".join(before["images"]),
        )  # fmt: skip
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
    every = store.all_comparisons() if kind.endswith("comparison") else store.all_per_image()
    assert len(every) == ITEMS + 3 + 3, "what was taken back is there, and who took it back"
    assert (stored["response_ms"].astype(int) >= 0).all()
    latencies = page.evaluate("performance.getEntriesByName('key to next question').map((entry) => entry.duration)")
    online = sorted(latencies)[: len(latencies)]
    p95 = statistics.quantiles(online, n=20)[-1]
    print(
        f"\n{kind}: key press to next question, {len(online)} times: median {statistics.median(online):.1f} ms, 95 % {p95:.1f} ms"
    )
    assert len(online) >= ITEMS - 5
    assert p95 <= LIMIT_MS


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


def test_a_restarted_server_gets_what_waited(page: Any, place: Any, live: Any) -> None:
    where = place(count=12)
    server = live(where)
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    page.keyboard.press("1")
    wait_stored(page)
    server.stop()
    for _ in range(3):
        before = asked(page)["images"]
        page.keyboard.press("2")
        until(page, NEXT_IMAGE, before[0])
    page.wait_for_selector("#waiting:not([hidden])")
    server.start()
    wait_stored(page)
    assert len(server.desk.assignments.store.comparisons()) == 4
    page.reload()
    page.wait_for_selector("#stage img")
    page.keyboard.press("u")
    until(page, "() => document.getElementById('message').textContent.startsWith('Taken back')")
    wait_stored(page)
    assert len(server.desk.assignments.store.comparisons()) == 3, "after a reload, too, answers can be taken back"


def test_answers_that_wait_survive_a_closed_tab(browser: Any, place: Any, live: Any) -> None:
    server = live(place(count=12))
    context = browser.new_context()
    page = context.new_page()
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    context.set_offline(True)
    page.keyboard.press("1")
    page.wait_for_selector("#waiting:not([hidden])")
    page.close()
    context.set_offline(False)
    assert len(server.desk.assignments.store.files) == 0
    again = context.new_page()
    again.goto(server.link("ann"))
    again.wait_for_selector("#stage img")
    wait_stored(again)
    assert len(server.desk.assignments.store.comparisons()) == 1
    context.close()


def test_a_full_disk_is_shown_and_nothing_is_lost(
    page: Any, place: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = live(place(count=12))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")

    def full(handle: int, data: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_log._write_all", full)
        page.keyboard.press("1")
        page.wait_for_selector("#waiting:not([hidden])")
        assert "No space left" in page.inner_text("#waiting")
        shot(page, "full-disk")
    wait_stored(page)
    assert len(server.desk.assignments.store.comparisons()) == 1


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


@pytest.mark.parametrize("kind", ["comparison", "image_comparison", "label", "verdict", "rating"])
def test_dark_phone_and_large_text(kind: str, browser: Any, place: Any, live: Any) -> None:
    """At phone width, and at 200 % zoom of a laptop's screen, all is reachable and nothing overlaps."""
    server = live(place(kind, count=6))
    for name, size, scheme in (
        ("phone", (390, 844), "light"),
        ("zoomed", (640, 400), "light"),
        ("wide-dark", (1440, 900), "dark"),
    ):
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        page = context.new_page()
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
        context.close()


def test_a_screen_reader_is_told(page: Any, place: Any, live: Any) -> None:
    server = live(place("image_comparison", count=6))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    assert page.get_attribute("#question", "aria-live") == "polite"
    assert page.evaluate("document.activeElement.id") == "question"
    assert re.match(r"Which image is the better example of “(ant|bee|wasp)”\?", page.inner_text("#question"))
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
    assert list(store.all_per_image()["answer"]) == ["yes", "yes"]
    assert len(store.per_image_judgments()) == 0


def test_nothing_free_says_until_when(browser: Any, place: Any, live: Any) -> None:
    server = live(place(count=3, lease_minutes=30), "ann", "bob")
    pages = []
    for who in ("ann", "bob"):
        context = browser.new_context()
        pages.append(context.new_page())
        pages[-1].goto(server.link(who))
        until(pages[-1], "() => document.getElementById('question').textContent !== 'Loading …'")
    pages[1].wait_for_selector("#finished:not([hidden])")
    assert re.search(r"free by \d\d?:\d\d", pages[1].inner_text("#finished"))
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
