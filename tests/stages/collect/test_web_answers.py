"""Answers as the page sends them: malformed ones are refused, a full disk is said, others' answers are shown only on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.collect_site import ORIGIN, Site, answer, take

from feedback_store.schemas.base import Subject
from pipeline.kinds import AUDIT_KIND
from pipeline.kinds.items import Item
from stages.collect.web.page_context import PageContext


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"answers": [{}]},
        {"answers": [{"id": "short"}]},
        {"answers": [{"id": "a" * 8, "item": "../../etc/passwd"}]},
        {"answers": [{"id": "a\nb" * 8}]},
        {"answers": [{"id": "a" * 8, "response_ms": -1}]},
        {"answers": {}, "more": 1},
        {"answers": [{"id": "a" * 8, "item": "0" * 24, "extra": 1}]},
        {"answers": [{"id": "a" * 8}] * 101},
    ],
)
def test_malformed_answers_are_refused(site: Site, body: dict) -> None:  # type: ignore[type-arg]
    reply = site.browser("ann").post(site.home("ann") + "answers", json=body, headers=ORIGIN)
    assert reply.status_code == 422
    assert site.desk.assignments.store.is_empty()


def test_a_full_disk_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    task = take(site)[0]

    def full(handle: int, data: memoryview) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("feedback_store.csv_store.log._write_all", full)
        refused = site.browser("ann").post(site.home("ann") + "answers", json=answer(task["key"]), headers=ORIGIN)
    assert refused.status_code == 507
    assert "No space left" in refused.json()["detail"]
    stored = site.browser("ann").post(site.home("ann") + "answers", json=answer(task["key"]), headers=ORIGIN)
    assert stored.json()["stored"] == ["answer-1"]


def test_neither_others_nor_the_model_are_shown_unless_asked(
    place: Callable[..., object], desk_maker: Callable[..., PageContext]
) -> None:
    quiet = Site(desk_maker(place(count=5, judgments_per_item=2), ["ann", "bob"]))
    for task in take(quiet, "ann", 5):
        quiet.browser("ann").post(quiet.home("ann") + "answers", json=answer(task["key"], task["key"]), headers=ORIGIN)
    assert {note for task in take(quiet, "bob", 5) for note in task["notes"]} == set()
    quiet.desk.assignments.settings = quiet.desk.assignments.settings.model_copy(
        update={"show_others": True, "show_model": True}
    )
    quiet.desk.presenter._settings = quiet.desk.assignments.settings
    notes = take(quiet, "bob", 5)[0]["notes"]
    assert notes[0].startswith("Others: ")
    assert "(1)" in notes[0]
    assert notes[1].startswith("Model: ")


def test_the_model_is_not_shown_with_audit_questions(
    place: Callable[..., Any], desk_maker: Callable[..., PageContext]
) -> None:
    """Answers that it led could not measure it."""
    where = place(count=2, show_model=True)
    audit = Item(AUDIT_KIND.name, Subject((str(where.table.ids[0]),)), audit=True)
    where.plan = replace(where.plan, items=[audit, *where.plan.items])
    first, second = take(Site(desk_maker(where, ["ann"])), "ann", 2)
    assert first["notes"] == []
    assert second["notes"][0].startswith("Model: ")
