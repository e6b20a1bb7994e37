"""One person at two servers at once, or in two tabs: an item is answered once and keeps its place meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.collect_postgres import answer, server
from support.postgres import new_collection

from benchmarks.postgres_process import PostgresProcess
from feedback_store.postgres_store.store import PostgresStore
from stages.collect.tasks import Answer


@pytest.fixture
def store(postgres: PostgresProcess) -> PostgresStore:
    return new_collection(postgres)


def test_a_person_who_answers_at_two_servers_answers_once(store: PostgresStore, place: Callable[..., Any]) -> None:
    where = place(count=1, judgments_per_item=2)
    one, other = server(store, where), server(store, where)
    task = one.take("ann", 1)[0]
    assert other.take("ann", 1) == [task]
    assert answer(one, "ann", task.item.key, "a").refused == []
    assert [refused.late for refused in answer(other, "ann", task.item.key, "b").refused] == [True]
    assert list(store.comparisons()["choice"]) == ["a"]


def test_an_answer_that_is_being_stored_keeps_its_place(store: PostgresStore, place: Callable[..., Any]) -> None:
    """Whatever the same person does elsewhere meanwhile: the question is not asked again, skipped or handed back."""
    where = place(count=1)
    one, other = server(store, where), server(store, where)
    key = one.take("ann", 1)[0].item.key
    pending = one.check("ann", [Answer("answer-1", key, "a")])
    assert other.take("ann", 1) == []
    other.skip("ann", key)
    other.release("ann", [key])
    assert other.take("bob", 1) == []
    one.commit(pending.judgments)
    assert other.take("bob", 1) == []
    assert list(store.comparisons()["id"]) == ["answer-1"]
