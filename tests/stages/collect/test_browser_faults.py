"""The page in a real Chromium when connection, server or disk fail: nothing is lost, nothing unseen is answered."""

from __future__ import annotations

from typing import Any

import pytest
from support.browser import CHROMIUM, shot, until
from support.judging_page import NEXT_IMAGE, asked, wait_stored

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser"
)


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
    assert server.desk.assignments.store.is_empty()
    context.set_offline(False)
    again = context.new_page()
    again.goto(server.link("ann"))
    again.wait_for_selector("#stage img")
    wait_stored(again)
    assert len(server.desk.assignments.store.comparisons()) == 1
    context.close()


@pytest.mark.parametrize(
    "clock", [pytest.param("right", marks=pytest.mark.long), "set to 1970 when the answer was given"]
)
def test_answers_that_wait_survive_lost_leases(page: Any, place: Any, live: Any, clock: str) -> None:
    where = place(count=12)
    server = live(where)
    if clock != "right":
        page.add_init_script("Date.now = () => 1000")
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    server.stop()
    page.keyboard.press("1")
    page.wait_for_selector("#waiting:not([hidden])")
    if clock != "right":
        page.evaluate("() => { Date.now = () => performance.timeOrigin + performance.now(); }")
    for file in where.folder.glob("leases.sqlite*"):
        file.unlink()
    server.start()
    wait_stored(page)
    assert len(server.desk.assignments.store.comparisons()) == 1


def test_answers_that_the_server_does_not_know_are_set_aside_and_sent_again(page: Any, place: Any, live: Any) -> None:
    """The server was started with another configuration by mistake, and then with the right one."""
    where = place(count=12)
    server = live(where)
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    right = where.plan
    server.stop()
    page.keyboard.press("1")
    page.wait_for_selector("#waiting:not([hidden])")
    where.plan = place("verdict", count=12).plan
    server.start()
    until(page, "() => document.getElementById('message').textContent.startsWith('Not stored: unknown question')")
    wait_stored(page)
    server.stop()
    where.plan = right
    server.start()
    assert server.desk.assignments.store.is_empty()
    page.reload()
    page.wait_for_selector("#stage img")
    until(page, "() => Object.keys(localStorage).some(key => key.startsWith('refused'))")
    wait_stored(page)
    assert len(server.desk.assignments.store.comparisons()) == 1


def test_a_full_disk_is_shown_and_nothing_is_lost(
    page: Any, place: Any, live: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = live(place(count=12))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")

    def full(handle: int, data: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_store.log._write_all", full)
        page.keyboard.press("1")
        page.wait_for_selector("#waiting:not([hidden])")
        assert "No space left" in page.inner_text("#waiting")
        shot(page, "full-disk")
    wait_stored(page)
    assert len(server.desk.assignments.store.comparisons()) == 1


def test_an_image_that_a_lost_connection_kept_away_comes_later(page: Any, place: Any, live: Any) -> None:
    """It is asked for again, not called broken; and no key answers what is not on the screen yet."""
    server = live(place("verdict", count=12))
    lost = True
    page.route("**/images/**", lambda route: route.abort() if lost else route.continue_())
    page.goto(server.link("ann"))
    until(page, "() => document.getElementById('message').textContent.startsWith('Waiting for the image')")
    for key in ("y", "s", "z", "b"):
        page.keyboard.press(key)
    shot(page, "image-kept-away")
    lost = False
    page.wait_for_selector("#stage img")
    assert page.inner_text("#message") == ""
    assert asked(page)["shown"]
    assert "could not be loaded" not in page.inner_text("#stage")
    wait_stored(page)
    assert server.desk.assignments.store.is_empty(), "nothing was answered before its image was seen"
    page.keyboard.press("y")
    wait_stored(page)
    assert list(server.desk.assignments.store.per_image_judgments()["answer"]) == ["yes"]


def test_an_image_that_the_server_cannot_give_is_said(page: Any, place: Any, live: Any) -> None:
    server = live(place("verdict", count=12))
    page.route("**/images/**", lambda route: route.fulfill(status=404, body="gone"))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage .broken")
    assert "could not be loaded" in page.inner_text("#stage")
    page.keyboard.press("b")
    wait_stored(page)
    assert list(server.desk.assignments.store.per_image_judgments()["answer"]) == ["bad_image"]
