"""A new queue while people answer: what was handed out stays valid, and nothing is asked or lost twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.answering import give, rows, take_back

from stages.collect.assignments import Assignments
from stages.collect.live_queue import QUEUE, Queue, QueueWatcher, read_queue
from stages.collect.tasks import Answer


def keys(desk: Assignments, who: str, wanted: int = 50) -> list[str]:
    return [task.item.key for task in desk.take(who, wanted)]


def test_the_queue_comes_first_and_then_the_plan(place: Callable[..., Any]) -> None:
    desk = place(count=10).again()
    items = desk.plan.items
    desk.adopt(Queue(1, [items[7], items[3]]))
    assert keys(desk, "ann", 4) == [items[n].key for n in (7, 3, 0, 1)]
    assert desk.progress("ann").total == 10


def test_what_is_held_stays_valid_and_what_was_answered_is_not_asked_again(place: Callable[..., Any]) -> None:
    desk = place(count=10).again()
    first, second, third = desk.take("ann", 3)
    give(desk, "ann", first)
    new = [item for item in desk.plan.items if item.key not in {first.item.key, second.item.key, third.item.key}]
    desk.adopt(Queue(1, [first.item, *new[:2]]))
    accepted = give(desk, "ann", second)
    assert (len(accepted.judgments), accepted.refused, accepted.late) == (1, [], [])
    assert [row["round"] for row in rows(desk)] == ["0", "1"]
    left = keys(desk, "bob")
    assert first.item.key not in left
    assert second.item.key not in left
    assert third.item.key not in left, "ann holds it"
    assert left[:2] == [item.key for item in new[:2]]
    assert (desk.progress("bob").done, desk.progress("bob").total) == (2, 10)


def test_new_questions_take_the_place_of_others(place: Callable[..., Any]) -> None:
    """Comparisons are drawn anew each round; as many questions are asked in all as before."""
    items = place(count=20).plan.items
    where = place(count=6)
    desk = where.again()
    for task in desk.take("ann", 2):
        give(desk, "ann", task)
    held = desk.take("ann", 1)[0]
    others = [item for item in items if item.key not in desk.items][:4]
    desk.adopt(Queue(1, others))
    left = keys(desk, "bob")
    assert left == [item.key for item in others][:3]
    assert desk.progress("ann").total == 6
    where.clock.now += desk.settings.lease_minutes * 60 + 1
    desk.adopt(Queue(2, [item for item in items if item.key not in desk.items][:9]))
    late = desk.check("ann", [Answer("too-late-1", held.item.key, "a")])
    assert (len(late.judgments), late.refused) == (1, []), "nobody else answered it"


def test_a_retracted_answer_is_asked_again_after_a_new_queue(place: Callable[..., Any]) -> None:
    desk = place(count=5).again()
    task = desk.take("ann", 1)[0]
    give(desk, "ann", task, judgment="first-one")
    desk.adopt(Queue(1, desk.plan.items[2:4]))
    take_back(desk, "ann", "first-one")
    assert task.item.key in keys(desk, "ann")


def test_a_second_answer_is_still_wanted(place: Callable[..., Any]) -> None:
    desk = place(count=4, judgments_per_item=2).again()
    items = list(desk.plan.items)
    give(desk, "ann", desk.take("ann", 1)[0])
    desk.adopt(Queue(1, [items[3]]))
    assert keys(desk, "bob", 2) == [items[0].key, items[3].key]
    assert keys(desk, "ann", 1) == [items[3].key]
    assert desk.progress("ann").total == 8


def test_a_restarted_server_knows_what_was_handed_out(place: Callable[..., Any]) -> None:
    extra = place(count=20).plan.items[10:12]
    where = place(count=6)
    desk = where.again()
    desk.adopt(Queue(1, extra))
    task = desk.take("ann", 1)[0]
    assert task.item.key == extra[0].key
    desk = where.again()
    for queue in (Queue(1, extra), Queue(2, list(where.plan.items[4:]))):
        desk.adopt(queue)
    assert give(desk, "ann", task).refused == []
    assert keys(desk, "bob", 2) == [item.key for item in where.plan.items[4:]]


def stored(folder: Path, number: int, items: list[Any]) -> None:
    path = folder / str(number) / QUEUE
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [{"kind": i.kind, "images": i.images, "labels": i.subject.labels, "audit": i.audit} for i in items]
    path.write_text(json.dumps({"round": number + 1, "items": entries}))


def test_queues_are_noticed_once_and_in_order(place: Callable[..., Any], tmp_path: Path) -> None:
    items, folder = list(place(count=6).plan.items), tmp_path / "rounds"
    watcher = QueueWatcher(folder)
    assert list(watcher.earlier()) == []
    stored(folder, 0, items[:2])
    (folder / "1").mkdir()  # made by a simulated teacher, or not ranked yet
    assert list(watcher.earlier()) == [Queue(1, items[:2])]
    assert list(watcher.earlier()) == []
    stored(folder, 1, items[2:3])
    assert list(watcher.earlier()) == [Queue(2, items[2:3])]
    assert watcher.take() is None
    watcher.start()
    for number in (2, 3):
        stored(folder, number, items[number:])
    give_up = time.monotonic() + 30
    newest = None
    while newest is None or newest.round < 4:
        newest = watcher.take() or newest
        assert time.monotonic() < give_up
        time.sleep(0.01)
    watcher.stop()
    assert newest == Queue(4, items[3:])
    assert watcher.take() is None


def test_a_damaged_queue_is_read_once_it_is_made_again(
    place: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items, folder = list(place(count=6).plan.items), tmp_path / "rounds"
    watcher = QueueWatcher(folder)
    (folder / "0").mkdir(parents=True)
    (folder / "0" / QUEUE).write_text("{")
    assert [list(watcher.earlier()) for _ in range(3)] == [[], [], []]
    assert len(caplog.records) == 1, "it is said once"
    (folder / "0" / QUEUE).unlink()
    assert list(watcher.earlier()) == []
    stored(folder, 0, items[:2])
    assert list(watcher.earlier()) == [Queue(1, items[:2])]
    (folder / "1").mkdir()
    (folder / "1" / QUEUE).write_text("{")
    stored(folder, 2, items[2:])
    assert list(watcher.earlier()) == [Queue(3, items[2:])], "a damaged one does not keep later ones away"


def test_a_damaged_queue_is_reported_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / QUEUE
    assert read_queue(path) is None
    assert caplog.records == []
    for text in ("{", '{"round": 1, "items": [{"kind": "label"}]}', '{"round": 1}'):
        path.write_text(text)
        assert read_queue(path) is None
    assert len(caplog.records) == 3
    assert "queue.json: damaged" in caplog.text
