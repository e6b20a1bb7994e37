"""Leases and links of several servers: the same rules in a file and in a database, and no item assigned too often."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.collect_postgres import answer, server
from support.postgres import new_collection

from benchmarks.postgres_process import PostgresProcess
from feedback_store.errors import UnreachableError, UnreadableError
from feedback_store.postgres_store.store import PostgresStore
from feedback_store.store_registry import open_store
from stages.collect.lease_keeper import Lease, LeaseKeeper, LeasesError
from stages.collect.leases import Leases
from stages.collect.shared_state import leases_of, link_secrets_of
from stages.collect.tasks import Answer
from stages.collect.web.personal_links import Links

A, B = "a" * 24, "b" * 24


@pytest.fixture
def store(postgres: PostgresProcess) -> PostgresStore:
    return new_collection(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LeaseKeeper]:
    made: LeaseKeeper
    if request.param == "sqlite":
        made = Leases(tmp_path / "leases.sqlite")
    else:
        made = leases_of(request.getfixturevalue("store"), tmp_path)
    yield made
    made.close()


def test_every_keeper_keeps_leases(keeper: LeaseKeeper) -> None:
    now = keeper.clock()
    assert abs(now - time.time()) < 60
    with keeper.exclusive():
        assert keeper.lock([A, B], wait=True) == {A, B}
        keeper.grant("ann", A, 0, now + 60)
        keeper.grant("ann", B, 1, now + 60, answer="answer-1")
        keeper.grant("bob", A, 0, now - 1)
    ann_a, ann_b = Lease("ann", A, 0, now + 60, ""), Lease("ann", B, 1, now + 60, "answer-1")
    assert sorted(keeper.held(now), key=lambda one: one.item) == [ann_a, ann_b]
    assert keeper.held(now, annotator="bob") == []
    assert keeper.held(now, items=[B, "x"]) == [ann_b]
    with keeper.exclusive():
        assert sorted(keeper.lock_own("ann", now), key=lambda one: one.item) == [ann_a, ann_b]
    assert keeper.of("bob", A) == Lease("bob", A, 0, now - 1, "")
    assert keeper.of("bob", B) is None
    assert (keeper.answered_by("answer-1"), keeper.answered_by("answer-2")) == ([("ann", B)], [])
    keeper.reopen("ann", "answer-1")
    assert keeper.of("ann", B) == Lease("ann", B, 1, now + 60, "")
    keeper.skip("bob", A, 0, now + 2)
    keeper.skip("bob", B, 0, now + 1)
    assert keeper.skipped("bob") == [B, A]
    keeper.release("ann", [A], now)
    assert keeper.held(now, items=[A]) == []
    keeper.grant("ann", A, 0, now + 60, answer="answer-3")
    keeper.done("ann", A, "another")
    assert keeper.held(now, items=[A]) != []
    keeper.done("ann", A, "answer-3")
    assert (keeper.held(now, items=[A]), keeper.of("ann", A)) == ([], None)


def test_a_transaction_is_all_or_nothing(keeper: LeaseKeeper) -> None:
    def fail() -> None:
        with keeper.exclusive():
            keeper.grant("ann", A, 0, keeper.clock() + 60)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert keeper.held(0) == []


def test_an_item_that_another_server_assigns_is_left_to_it(store: PostgresStore, tmp_path: Path) -> None:
    one, other = leases_of(store, tmp_path), leases_of(open_store(store.location), tmp_path)
    with one.exclusive():
        assert one.lock([A]) == {A}
        with other.exclusive():
            assert other.lock([A, B]) == {B}
    with other.exclusive():
        assert other.lock([A, B]) == {A, B}


def test_the_time_is_the_databases(store: PostgresStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = time.time()
    monkeypatch.setattr(time, "time", lambda: 1.0)  # a machine whose clock is wrong
    leases = leases_of(store, tmp_path)
    assert abs(leases.clock() - right) < 60
    with leases.exclusive():
        leases.lock([A])
        assert leases.clock() == leases.clock(), "the time of the lock"


def test_a_person_goes_on_at_another_server(store: PostgresStore, place: Callable[..., Any]) -> None:
    """A server is gone without a word: its annotator has the same question elsewhere, and nobody else has it."""
    where = place(count=6)
    one, other = server(store, where), server(store, where)
    task = one.take("ann", 1)[0]
    accepted = one.check("ann", [Answer("answer-1", task.item.key, "a")])  # and dies before it is stored
    assert accepted.taken == ["answer-1"]
    assert task.item.key not in {found.item.key for found in other.take("bob", 5)}
    again = answer(other, "ann", task.item.key, judgment="answer-1")
    assert (again.taken, again.refused) == (["answer-1"], [])
    one.catch_up()
    assert one.progress("ann") == other.progress("ann")
    assert (one.progress("ann").mine, one.progress("ann").done) == (1, 1)
    assert answer(one, "ann", task.item.key, judgment="answer-1").known == ["answer-1"]
    assert len(store.comparisons()) == 1


def test_a_dead_servers_leases_expire(
    postgres: PostgresProcess, store: PostgresStore, place: Callable[..., Any]
) -> None:
    where = place(count=1)
    one, other = server(store, where), server(store, where)
    task = one.take("ann", 1)[0]
    assert other.take("bob", 1) == []
    assert other.waiting_until("bob") == pytest.approx(other.clock() + 15 * 60, abs=60)
    postgres.execute("UPDATE image_rlhf.leases SET until = 0 WHERE collection = '" + store.collection + "'")
    assert [found.item.key for found in other.take("bob", 1)] == [task.item.key]
    assert [refused.late for refused in answer(one, "ann", task.item.key).refused] == [True], "bob holds it"


def test_no_item_is_assigned_too_often_by_many_servers(
    postgres: PostgresProcess, store: PostgresStore, place: Callable[..., Any]
) -> None:
    """Four servers, twelve people who answer, skip, hand back and let leases expire: never more than two for an item."""
    where = place(count=40, judgments_per_item=2)
    counts = """
        SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM image_rlhf.leases WHERE collection = %s
            AND (state = 'done' OR (state = 'held' AND until > extract(epoch FROM clock_timestamp()))) GROUP BY item) AS x
    """.replace("%s", f"'{store.collection}'")
    errors: list[BaseException] = []

    def work(number: int) -> None:
        dice, desk = random.Random(number), server(store, where)
        try:
            for _ in range(25):
                who = f"person{dice.randrange(12)}"
                for task in desk.take(who, dice.randrange(1, 5)):
                    match dice.randrange(6):
                        case 0:
                            desk.skip(who, task.item.key)
                        case 1:
                            desk.release(who, [task.item.key])
                        case 2:
                            pass
                        case _:
                            answer(desk, who, task.item.key, dice.choice("ab"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    most, expired = (
        0,
        f"UPDATE image_rlhf.leases SET until = 0 WHERE collection = '{store.collection}' AND item < '4' AND answer = ''",
    )
    while any(thread.is_alive() for thread in threads):
        most = max(most, postgres.execute(counts)[0][0])
        postgres.execute(expired)
    assert errors == []
    assert most == 2
    rows = store.comparisons()
    answers = Counter(zip(rows["image_a"], rows["label_a"], rows["label_b"], strict=True))
    assert max(answers.values()) == 2
    assert not rows.duplicated(["image_a", "label_a", "label_b", "annotator"]).any()


def test_leases_that_cannot_be_reached_refuse_nothing(
    postgres: PostgresProcess, store: PostgresStore, place: Callable[..., Any]
) -> None:
    """An answer is neither accepted nor refused while the database is down: the page sends it again."""
    desk = server(store, place(count=5))
    task = desk.take("ann", 1)[0]
    postgres.stop("immediate")
    try:
        for use in (
            lambda: desk.check("ann", [Answer("answer-1", task.item.key, "a")]),
            lambda: desk.take("ann", 1),
            lambda: desk.skip("ann", task.item.key),
        ):
            with pytest.raises((LeasesError, UnreadableError), match="the database cannot be reached"):
                use()
    finally:
        postgres.start()
    assert answer(desk, "ann", task.item.key, judgment="answer-1").taken == ["answer-1"]


def test_personal_links_are_valid_on_every_server(store: PostgresStore, tmp_path: Path) -> None:
    made = [Links(link_secrets_of(open_store(store.location), tmp_path), ["ann", "bob"]) for _ in range(2)]
    first, second = ([(link.name, link.token, link.slug) for link in links] for links in made)
    assert first == second
    more = Links(link_secrets_of(store, tmp_path), ["eve", "ann"])
    assert more.find(made[0].annotators[0].token) == made[0].annotators[0]
    assert made[0].image_name("ann", 1, "x") == more.image_name("ann", 1, "x")
    assert Links(link_secrets_of(store.late, tmp_path), ["ann"]).find(first[1][1]) is None, "another collection's"


def test_an_answer_is_not_refused_because_the_database_failed_midway(
    store: PostgresStore, place: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = server(store, place(count=5))
    task = desk.take("ann", 1)[0]

    def fail(*arguments: object) -> bool:
        raise UnreachableError("the database cannot be reached")

    monkeypatch.setattr(desk.room, "has_room", fail)
    with pytest.raises(UnreachableError):
        desk.check("bob", [Answer("answer-1", task.item.key, "a")])
