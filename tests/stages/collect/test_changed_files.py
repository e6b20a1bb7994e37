"""The store's file changes under the running page: nothing is acknowledged that cannot be read back, and nothing is lost."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.browser import CHROMIUM, until
from support.judging_page import NEXT_IMAGE, asked, wait_stored

from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError

REASON = "the server cannot store answers (the file of answers was changed or removed by another program; the owner has to fix it)"


def quoted(text: bytes) -> bytes:
    made = io.StringIO()
    writer = csv.writer(made, quoting=csv.QUOTE_ALL)
    writer.writerows(csv.reader(io.StringIO(text.decode(), newline="")))
    return made.getvalue().encode()


def second_line_gone(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([lines[0], *lines[2:]])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_suffix(".old")),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-30]),
    "emptied": lambda path: path.write_bytes(b""),
    "byte order mark": lambda path: path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes()),
    "quoted": lambda path: path.write_bytes(quoted(path.read_bytes())),
    "garbage line": lambda path: path.write_bytes(path.read_bytes() + b"garbage\r\n"),
    "missing line": lambda path: path.write_bytes(second_line_gone(path.read_bytes())),
    "semicolons": lambda path: path.write_bytes(path.read_bytes().replace(b",", b";")),
    "line feeds": lambda path: path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n")),
}
KEPT = {  # rows of three that are there after `feedback check --accept`, where that takes the file
    "deleted": 0,
    "renamed": 0,
    "truncated": 2,
    "emptied": 0,
    "byte order mark": 3,
    "quoted": 3,
    "missing line": 2,
    "line feeds": 3,
}


class Person:
    """An annotator's browser: keeps what was not acknowledged, and sends it again."""

    def __init__(self, server: Any) -> None:
        origin = f"http://127.0.0.1:{server.port}"
        self.client = httpx.Client(base_url=origin, headers={"Origin": origin}, timeout=30)
        self.home = self.client.get(server.link("ann")).headers["location"]
        self.acknowledged: list[str] = []
        self.tasks: list[dict[str, Any]] = []

    def take(self, count: int) -> None:
        reply = self.client.post(self.home + "next", json={"wanted": count})
        assert reply.status_code == 200, "nobody is kept from judging"
        self.tasks += reply.json()["tasks"]

    def send(self, *ids: str) -> httpx.Response:
        """Answers to the first tasks, under these ids."""
        entries = [{"id": i, "item": t["key"], "answer": "a"} for i, t in zip(ids, self.tasks, strict=False)]
        reply = self.client.post(self.home + "answers", json={"answers": entries})
        if reply.status_code == 200:
            assert reply.json()["refused"] == []
            self.acknowledged += reply.json()["stored"]
            del self.tasks[: len(ids)]
        return reply


@pytest.fixture
def person(place: Callable[..., Any], live: Callable[..., Any]) -> Iterator[Person]:
    """Somebody who has answered three questions, one a time."""
    server = live(place(count=20))
    made = Person(server)
    made.server = server  # type: ignore[attr-defined]
    made.take(3)
    for number in range(3):
        assert made.send(f"answer-before-{number}").status_code == 200
    yield made
    made.client.close()


def store_of(person: Any) -> CsvFeedbackStore:
    """As another process opens it."""
    return CsvFeedbackStore(person.server.where.folder / "feedback")


@pytest.mark.parametrize("damage", DAMAGES)
def test_answers_wait_until_the_file_is_repaired(person: Any, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "stages")
    path = store_of(person).pairwise.path
    good = path.read_bytes()
    DAMAGES[damage](path)
    found = path.read_bytes() if path.exists() else None
    person.take(2)
    for _ in range(3):
        refused = person.send("answer-after-0", "answer-after-1")
        assert (refused.status_code, refused.json()["detail"]) == (507, REASON)
    assert (path.read_bytes() if path.exists() else None) == found, "nothing was added to it"
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1, "the same reason is not logged again and again"
    assert str(path) in errors[0]
    path.write_bytes(good)
    assert person.send("answer-after-0", "answer-after-1").status_code == 200
    assert "Answers are stored again." in caplog.messages
    assert person.send().status_code == 200
    assert (
        list(store_of(person).comparisons()["id"])
        == person.acknowledged
        == [
            "answer-before-0",
            "answer-before-1",
            "answer-before-2",
            "answer-after-0",
            "answer-after-1",
        ]
    )
    progress = person.client.get(person.home + "session").json()["progress"]
    assert (progress["mine"], progress["done"]) == (5, 5)


@pytest.mark.parametrize("damage", DAMAGES)
def test_answers_flow_again_once_the_change_is_accepted(person: Any, damage: str) -> None:
    store = store_of(person)
    DAMAGES[damage](store.pairwise.path)
    person.take(1)
    assert person.send("answer-after-0").status_code == 507
    if damage not in KEPT:
        with pytest.raises(FeedbackError, match=r"line \d"):
            store.pairwise.accept()
        assert person.send("answer-after-0").status_code == 507
        return
    store.pairwise.accept()
    assert person.send("answer-after-0").status_code == 200
    stored = list(store_of(person).comparisons()["id"])
    assert stored[-1] == "answer-after-0"
    assert len(stored) == KEPT[damage] + 1
    progress = person.client.get(person.home + "session").json()["progress"]
    assert progress["mine"] == progress["done"] == len(stored), "answers that are no longer stored are asked again"
    person.take(20)
    assert len(person.tasks) == 20 - len(stored)


def test_stored_answers_that_could_not_be_counted_are_acknowledged(
    person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file changes between the write and the count: the rows are on disk, and must not be called refused."""
    path = store_of(person).pairwise.path
    assignments = person.server.desk.assignments
    true = assignments.write

    def damaged_after(*judgments: Any) -> Any:
        written = true(*judgments)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        return written

    person.take(2)
    monkeypatch.setattr(assignments, "write", damaged_after)
    assert person.send("answer-after-0").json()["stored"] == ["answer-after-0"]
    monkeypatch.undo()
    assert person.send("answer-after-1").status_code == 507
    path.write_bytes(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    assert person.send("answer-after-1").status_code == 200
    assert list(store_of(person).comparisons()["id"]) == person.acknowledged


def test_an_answer_that_reached_a_moved_file_is_stored_once(person: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was written, but not under the file's name: 507. Put back, the same answer is acknowledged and not doubled."""
    path = store_of(person).pairwise.path

    def moved(handle: int, data: memoryview) -> None:
        path.rename(path.with_suffix(".old"))
        os.write(handle, data)

    person.take(1)
    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_store.log._write_all", moved)
        assert person.send("answer-after-0").status_code == 507
    path.with_suffix(".old").rename(path)
    assert person.send("answer-after-0").status_code == 200
    assert list(store_of(person).comparisons()["id"]) == person.acknowledged


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the page was not tested in a browser")
def test_the_page_says_why_answers_wait_and_sends_them(page: Any, place: Any, live: Any) -> None:
    server = live(place(count=12))
    page.goto(server.link("ann"))
    page.wait_for_selector("#stage img")
    page.keyboard.press("1")
    wait_stored(page)
    path = server.desk.assignments.store.pairwise.path
    path.rename(path.with_suffix(".old"))
    for key in ("1", "2"):
        before = asked(page)["images"]
        page.keyboard.press(key)
        until(page, NEXT_IMAGE, before[0])
    page.wait_for_selector("#waiting:not([hidden])")
    until(
        page, "() => document.getElementById('waiting').textContent.includes('changed or removed by another program')"
    )
    path.with_suffix(".old").rename(path)
    wait_stored(page)
    assert len(server.desk.assignments.store.comparisons()) == 3
