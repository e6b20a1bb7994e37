"""Pages through assignments and store: one answer is one durable append of all rows, once; undo takes the page back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from support.collect_server import Place
from support.collect_site import ORIGIN, Site, answer, take

from feedback_store.errors import FeedbackError
from stages.collect.assignments import Assignments
from stages.collect.tasks import Accepted, Answer

ID = "answer-to-a-page"


@pytest.fixture
def where(place: Callable[..., Place]) -> Place:
    return place("grid", count=3, grid_tiles=6)


def give(desk: Assignments, page: str, text: str, judgment: str = ID, who: str = "ann", **more: Any) -> Accepted:
    accepted = desk.check(who, [Answer(judgment, page, text, 4000, **more)])
    desk.commit(accepted.judgments, accepted.late)
    return accepted


def stored(desk: Assignments) -> list[tuple[str, str, str]]:
    frame = desk.store.per_image_judgments()
    return list(zip(frame["image"], frame["label"], frame["answer"], strict=True))


def test_a_page_is_one_answer_and_a_row_for_each_tile(where: Place) -> None:
    desk = where.again()
    [task] = desk.take("ann", 1)
    images = task.item.images
    assert len(images) == 6
    accepted = give(desk, task.item.key, "1,4:wasp")
    assert (accepted.taken, len(accepted.judgments)) == ([ID], 6)
    cells = ["unmarked", "marked", "unmarked", "unmarked", "marked", "unmarked"]
    assert stored(desk) == [(image, "wasp", cell) for image, cell in zip(images, cells, strict=True)]
    assert desk.progress("ann").mine == 1
    assert desk.progress("ann").done == 1
    assert desk.ledger.by_item[task.item.key] == {"ann": 1}
    assert desk.ledger.current[ID].answer == "1,4:wasp"
    assert desk.ledger.current[ID].rows == 6
    assert desk.leases.held(where.clock()) == [], "its lease has ended"
    assert task.item.key not in [one.item.key for one in desk.take("ann", 9)]


def test_all_rows_of_a_page_are_one_append(where: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = where.again()
    [task] = desk.take("ann", 1)
    written = []
    write = type(desk.store).write
    monkeypatch.setattr(type(desk.store), "write", lambda self, rows: (written.append(len(rows)), write(self, rows))[1])
    give(desk, task.item.key, ":ant")
    assert written == [6]


def test_a_page_that_is_sent_twice_is_stored_once(where: Place) -> None:
    desk = where.again()
    [task] = desk.take("ann", 1)
    give(desk, task.item.key, "0:ant")
    again = give(desk, task.item.key, "0:ant")
    assert (again.known, again.judgments, again.refused) == ([ID], [], [])
    reopened = where.again()
    assert give(reopened, task.item.key, "0:ant").known == [ID]
    [refused] = give(reopened, task.item.key, "1:ant").refused
    assert "another answer of yours" in refused.reason
    assert len(reopened.store.all_rows("per_image")) == 6


def test_undo_takes_the_page_back(where: Place) -> None:
    desk = where.again()
    [task] = desk.take("ann", 1)
    give(desk, task.item.key, "0,5:bee")
    undone = give(desk, "", "", "undo-of-the-page", retracts=ID)
    assert (undone.taken, len(undone.judgments)) == (["undo-of-the-page"], 6)
    assert stored(desk) == []
    assert desk.progress("ann").mine == 0
    assert len(desk.store.all_rows("per_image")) == 12
    assert give(desk, "", "", "undo-of-the-page", retracts=ID).known == ["undo-of-the-page"]
    give(desk, task.item.key, "2:bee", "second-answer")
    for one in (desk, where.again()):
        assert [cell for *_, cell in stored(one)].count("marked") == 1
        assert one.ledger.by_item[task.item.key] == {"ann": 1}
        assert list(one.ledger.by_annotator["ann"]) == ["second-answer"]


@pytest.mark.parametrize("kept", [1, 5])
def test_rows_that_a_power_cut_lost_are_stored_when_the_page_is_sent_again(where: Place, kept: int) -> None:
    desk = where.again()
    [task] = desk.take("ann", 1)
    rows = task.item.judgments("0,5:bee", id=ID, annotator="ann", source="web")
    desk.store.append(rows[:kept])
    reopened = where.again()
    assert reopened.ledger.current[ID].answer == "0:bee"
    sent = give(reopened, task.item.key, "0,5:bee")
    assert (sent.known, len(sent.judgments)) == ([ID], 6 - kept)
    assert [cell for *_, cell in stored(reopened)] == ["marked", *["unmarked"] * 4, "marked"]
    assert reopened.ledger.current[ID].answer == "0,5:bee"
    assert reopened.ledger.by_item[task.item.key] == {"ann": 1}
    # The same for an undo of which only some rows were stored.
    undo = task.item.judgments("0,5:bee", id="undo-of-the-page", retracts=ID, annotator="ann", source="web")
    reopened.store.append(undo[:kept])
    last = where.again()
    assert last.ledger.current[ID].rows == 6 - kept
    assert give(last, "", "", "undo-of-the-page", retracts=ID).known == ["undo-of-the-page"]
    assert stored(last) == []
    assert last.ledger.by_item[task.item.key] == {}


def test_after_a_failed_write_the_page_can_be_answered_again(where: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = where.again()
    [task] = desk.take("ann", 1)

    def full(self: object, rows: object) -> None:
        raise FeedbackError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(type(desk.store), "write", full)
        with pytest.raises(FeedbackError, match="no space"):
            give(desk, task.item.key, "0:ant")
    assert stored(desk) == []
    assert give(desk, task.item.key, "1:ant", uuid4().hex).taken
    assert len(stored(desk)) == 6


def test_a_late_page_is_kept_apart(place: Callable[..., Place]) -> None:
    where = place("grid", count=1, grid_tiles=6, lease_minutes=10)
    desk = where.again()
    [task] = desk.take("ann", 1)
    where.clock.now += 601
    [_] = desk.take("bob", 1)
    give(desk, task.item.key, "2:ant", "bobs-answer", who="bob")
    [refused] = give(desk, task.item.key, "1:ant").refused
    assert refused.late
    assert len(desk.store.late.all_rows("per_image")) == 6
    assert len(stored(desk)) == 6


def test_invalid_answers_are_refused(where: Place) -> None:
    desk = where.again()
    [task] = desk.take("ann", 1)
    for text in ("6:ant", ":hornet", "unmarked", "1", "1,1:ant"):
        [refused] = give(desk, task.item.key, text).refused
        assert "not a valid answer" in refused.reason
    assert give(desk, task.item.key, "bad_image").taken
    assert {cell for *_, cell in stored(desk)} == {"bad_image"}


def test_what_others_answered_is_shown_in_words(place: Callable[..., Place], desk_maker: Callable[..., Any]) -> None:
    where = place("grid", count=1, grid_tiles=6, judgments_per_item=3, show_others=True, show_model=True)
    site = Site(desk_maker(where, ["ann", "bob", "cy"]))
    [task] = take(site, "ann", 1)
    assert task["notes"] == ["Others: no answer yet"], "the model's prediction is the class of the page"
    for who, text in (("ann", "3,4:bee"), ("bob", ":ant")):
        take(site, who, 1)
        site.browser(who).post(
            site.home(who) + "answers", json=answer(task["key"], f"answer-{who}", text), headers=ORIGIN
        )
    [task] = take(site, "cy", 1)
    assert task["notes"] == ["Others: bee without 4, 5 (1), all are ant (1)"]


def test_the_same_over_http(place: Callable[..., Place], desk_maker: Callable[..., Any]) -> None:
    site = Site(desk_maker(place("grid", count=3, grid_tiles=6), ["ann", "bob"]))
    [task] = take(site, wanted=1)
    assert len(task["images"]) == 6
    client, url = site.browser("ann"), site.home("ann") + "answers"
    for _ in range(2):
        reply = client.post(url, json=answer(task["key"], ID, "3:bee"), headers=ORIGIN)
        assert reply.json()["stored"] == [ID]
        assert reply.json()["progress"]["mine"] == 1
    assert len(site.desk.assignments.store.all_rows("per_image")) == 6
