"""Asking people about pairs of clips: what is asked, what counts as answered, and when the page may end."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.clips import ClipPlace, clip_place
from support.collect_site import ORIGIN, Site, answer, take

from feedback_store.store import FeedbackStore
from pipeline.control.clip import clip_path
from pipeline.control.clip_comparison import clip_item
from pipeline.errors import Stopped, UserError
from pipeline.kinds.page_items import PageItems
from stages.collect.web.all_answered import QUIET_SECONDS, AllAnswered
from stages.control import ask_page
from stages.control.ask_page import ask_people


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(ask_page, "_OPENED", set())
    place = clip_place(tmp_path, 4)
    yield place
    place.close()


class Page:
    """A page on which the first `count` open questions are answered."""

    def __init__(self, count: int) -> None:
        self.count, self.served = count, []  # type: ignore[var-annotated]

    def __call__(self, items: PageItems, store: FeedbackStore, announce: object) -> int:
        self.served.append(items)
        for item in items.plan.items[: self.count]:
            store.append([item.judgment("a", annotator="ann", source="web", round=items.round)])
        return self.count


def ask(where: ClipPlace, page: Page, pairs: slice = slice(None), round: int = 0) -> None:
    ask_people(where.config, where.pairs[pairs], where.store, print, ask_about=page, round=round)


def test_the_page_is_served_until_all_are_answered(where: ClipPlace) -> None:
    page = Page(3)
    with pytest.raises(
        Stopped, match=r"1 of 4 questions are not answered yet; .*make rounds.* asks the others"
    ) as stopped:
        ask(where, page)
    assert stopped.value.code == 130
    page.count = 4
    ask(where, page, round=2)
    ask(where, page)
    assert len(page.served) == 2, "nothing is asked when all are answered"
    last = page.served[1]
    assert (last.continues, last.resume, last.next_step, last.round) == (True, "rounds", "rounds", 2)
    assert (last.settings.question, last.settings.count) == ("clip_comparison", None)
    assert [one.settings.server.open_browser for one in page.served] == [True, False], "a browser opens once"


def test_earlier_questions_stay_known(where: ClipPlace) -> None:
    page = Page(2)
    ask(where, page, slice(0, 2))
    page.count = 4
    ask(where, page, slice(2, 4), round=1)
    keys = [clip_item(*pair).key for pair in where.pairs]
    assert [item.key for item in page.served[1].plan.items] == keys
    clip_path(where.run / "clips", where.pairs[0][0]).unlink()
    where.store.append([clip_item(*where.pairs[3]).judgment("tie", annotator="simulated", source="simulated")])
    assert ask_page.unanswered(where.config, [clip_item(*pair) for pair in where.pairs], where.store) == 0
    shown = ask_page.clip_items(where.config, [], where.store, 2).plan.items
    assert [item.key for item in shown] == keys[1:], "a lost clip cannot be shown again"


def test_answers_of_simulated_people_do_not_count(where: ClipPlace) -> None:
    items = [clip_item(*pair) for pair in where.pairs]
    where.store.append([one.judgment("a", annotator="simulated", source="simulated") for one in items])
    assert ask_page.unanswered(where.config, items, where.store) == 4


def test_every_question_is_asked_of_as_many_people_as_configured(tmp_path: Path) -> None:
    where = clip_place(tmp_path, 1, judgments_per_item=2)
    items = [clip_item(*where.pairs[0])]
    for annotator, left in (("ann", 1), ("ann", 1), ("bob", 0)):
        where.store.append([items[0].judgment("a", annotator=annotator, source="web")])
        assert ask_page.unanswered(where.config, items, where.store) == left


def test_a_missing_clip_is_named_before_anybody_is_asked(where: ClipPlace) -> None:
    path = clip_path(where.run / "clips", where.pairs[2][1])
    path.unlink()
    page = Page(4)
    with pytest.raises(UserError, match=r"missing; restore it") as raised:
        ask(where, page)
    assert str(path) in str(raised.value)
    assert page.served == []


def test_a_clip_is_not_compared_with_itself(where: ClipPlace) -> None:
    where.pairs[1:] = [(where.pairs[0][0],) * 2]
    page = Page(1)
    ask(where, page)
    assert len(page.served[0].plan.items) == 1


def test_questions_and_clips_as_they_are_sent(where: ClipPlace) -> None:
    site = Site(where.desk(["ann", "bob"]))
    ann, home = site.browser("ann"), site.home("ann")
    session = ann.get(home + "session").json()
    assert (session["item"], session["continues"]) == ("clip", True)
    assert {one["name"]: one["text"] for one in session["actions"]}["bad_image"] == "bad clip"
    assert session["styles"] == ["static/kinds/clip_comparison/clips.css"]
    for file in (session["script"], *session["styles"], "static/kinds/clip_comparison/clip_player.js"):
        assert ann.get(home + file).status_code == 200
    (task,) = take(site, wanted=1)
    facts = {"frames": 12, "fps": 20.0, "width": 120, "height": 80, "columns": 3, "gap": 2}
    assert task["details"]["items"] == [facts, facts]
    shown = [ann.get(home + url) for url in task["images"]]
    strips = {clip_path(where.run / "clips", clip).read_bytes() for clip in where.pairs[0]}
    assert {reply.content for reply in shown} == strips
    assert shown[0].headers["content-type"] == "image/png"
    assert site.browser("bob").get(site.home("bob") + task["images"][0]).status_code == 404, "names are personal"
    assert ann.get(home + task["images"][0].replace("-", "0-")).status_code == 404
    clip_path(where.run / "clips", where.pairs[1][0]).unlink()
    (broken,) = [url for one in take(site) for url in one["images"] if ann.get(home + url).status_code == 410]
    assert broken not in task["images"]


def test_the_owner_sees_agreement(tmp_path: Path) -> None:
    where = clip_place(tmp_path, 1, judgments_per_item=2)
    site = Site(where.desk(["ann", "bob"]))
    for name in ("ann", "bob"):
        (task,) = take(site, name, wanted=1)
        sent = answer(task["key"], f"answer-{name}", "tie")
        assert site.browser(name).post(site.home(name) + "answers", json=sent, headers=ORIGIN).json()["stored"]
    owner = site.link("")
    browser = site.browser()
    browser.get(owner.enter)
    status = browser.get(owner.home + "status").json()
    assert (status["done"], status["total"], status["question"]) == (2, 2, "clip_comparison")
    (row,) = status["quality"]["questions"]
    assert (row["question"], row["judgments"], row["agreement"]) == ("clip_comparison", 2, 1.0)
    where.close()


def test_the_page_ends_when_nothing_was_changed_for_a_while(where: ClipPlace) -> None:
    site = Site(where.desk(["ann"]))
    clock = SimpleNamespace(now=0.0)
    ended = AllAnswered(site.desk.assignments, lambda: clock.now)
    ann, home = site.browser("ann"), site.home("ann")

    def send(body: dict[str, Any]) -> None:
        reply = ann.post(home + "answers", json=body, headers=ORIGIN).json()
        assert reply["stored"], reply

    def later(seconds: float) -> bool:
        clock.now += seconds
        return ended()

    tasks = take(site, wanted=4)
    for number, task in enumerate(tasks):
        assert not later(2 * QUIET_SECONDS)
        send(answer(task["key"], f"answer-{number}"))
    assert not ended()
    assert not later(QUIET_SECONDS - 0.1)
    send({"answers": [{"id": "taken-back-1", "item": tasks[2]["key"], "retracts": "answer-2", "age_ms": 0}]})
    send(answer(tasks[2]["key"], "corrected"))
    assert not later(0.2), "an answer was corrected between two looks"
    send({"answers": [{"id": "taken-back", "item": tasks[3]["key"], "retracts": "answer-3", "age_ms": 0}]})
    assert not later(2 * QUIET_SECONDS), "the last answer was taken back"
    send(answer(tasks[3]["key"], "answer-again"))
    assert not ended()
    assert later(QUIET_SECONDS)
