"""What has been answered is known without reading again what was just written, whoever else writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from extensions.memory_store import CONTENTS, MemoryStore
from support.answering import give, take_back
from support.collect_server import Place

from feedback_store.csv_store.log import CsvLog
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.errors import FeedbackError
from feedback_store.store import FeedbackStore
from stages.collect.assignments import Assignments
from stages.collect.ledger import Ledger
from stages.collect.web.owner_overview import Overview


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of the files were read again, each time some were."""
    found: list[int] = []
    true = CsvLog._bytes

    def counted(log: CsvLog, start: int, end: int | None = None) -> bytes:
        data = true(log, start, end)
        found.extend([len(data)] if data else [])
        return data

    monkeypatch.setattr(CsvLog, "_bytes", counted)
    return found


def test_what_was_just_written_is_not_read_again(place: Callable[..., Place], parsed: list[int]) -> None:
    where = place(count=6)
    desk, other = where.again(), where.again()
    for task in desk.take("ann", 2):
        give(desk, "ann", task)
    take_back(desk, "ann", next(iter(desk.ledger.current)))
    desk.catch_up()
    assert parsed == []
    assert (len(desk.ledger.current), desk.progress("ann").done) == (1, 1)
    give(other, "bob", other.take("bob", 1)[0])
    desk.catch_up()
    assert len(parsed) == 2, "each process read the other's rows, once"
    assert desk.progress("ann").done == other.progress("bob").done == 2


def test_what_others_wrote_just_before_is_counted(place: Callable[..., Place]) -> None:
    where = place(count=6)
    desk, other = where.again(), where.again()
    task, others = desk.take("ann", 1)[0], other.take("bob", 1)[0]
    give(other, "bob", others, "a", "others-answer")
    accepted = give(desk, "ann", task, "a", "own-answer")
    assert not accepted.refused
    assert set(desk.ledger.current) == {"others-answer", "own-answer"}
    assert desk.ledger.position == desk.store.rows_since(desk.ledger.position).position


def test_nobody_waits_for_a_write_under_way(place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch) -> None:
    """While answers are on their way to the disk, questions are given out as the ledger stands."""
    desk = place(count=6).again()
    task = desk.take("ann", 1)[0]
    true, taken = desk.store.write, []

    def slow(judgments: Any) -> Any:
        taken.extend(desk.take("bob", 1))
        return true(judgments)

    monkeypatch.setattr(desk.store, "write", slow)
    give(desk, "ann", task)
    assert len(taken) == 1
    assert taken[0].item != task.item


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_retraction_counts_wherever_it_is(place: Callable[..., Place], order: tuple[int, int]) -> None:
    where = place(count=3)
    item, store = where.plan.items[0], CsvFeedbackStore(where.folder / "feedback")
    common = {"annotator": "ann", "source": "web"}
    rows = [item.judgment("a", id="one", **common), item.judgment("a", id="back", retracts="one", **common)]
    store.append([rows[number] for number in order])
    ledger = Ledger(store)
    assert (ledger.current, ledger.taken_back) == ({}, {"one": "ann"})
    assert not ledger.by_item[item.key]


def test_a_store_without_files_serves_a_collection(place: Callable[..., Place]) -> None:
    where, name = place(count=3, lease_minutes=10), uuid4().hex

    def again() -> Assignments:
        return Assignments(
            where.plan, MemoryStore(name), where.again().leases, where.settings, seed=0, source="web", clock=where.clock
        )

    desk = again()
    first, late = desk.take("ann", 1)[0], desk.take("bob", 1)[0]
    give(desk, "ann", first, "a", "answer-1")
    where.clock.now += 601
    assert again().take("ann", 2)[0].item == late.item
    assert give(desk, "bob", late, "b", "answer-2").refused[0].late
    assert list(desk.store.late.comparisons()["id"]) == ["answer-2"]
    take_back(again(), "ann", "answer-1")
    desk.catch_up()
    assert desk.progress("ann").done == 0
    for key in [key for key in CONTENTS if key.startswith(name)]:
        del CONTENTS[key]


def test_the_owners_tables_follow_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Any) -> None:
    monkeypatch.setattr("stages.collect.web.owner_overview.MIN_REFRESH_SECONDS", -1)
    desk = place(count=6).again()
    made: list[FeedbackStore] = []
    true = CsvFeedbackStore.quality
    monkeypatch.setattr(CsvFeedbackStore, "quality", lambda store, gold: (made.append(store), true(store, gold))[1])
    overview = Overview(desk.store, {})
    assert overview.quality(desk.ledger.position)["annotators"] == []
    for done in (1, 2):
        give(desk, "ann", desk.take("ann", 1)[0])
        for _ in range(2):
            assert overview.quality(desk.ledger.position)["annotators"][0]["judgments"] == done
    assert len(made) == 3, "they are made anew only when something was judged"
    desk.store.pairwise.path.write_bytes(b"")
    with pytest.raises(FeedbackError):
        overview.quality(desk.ledger.position)
