"""Servers of one collection in PostgreSQL, as far as assigning and answering goes."""

from __future__ import annotations

import uuid
from typing import Any

from feedback_store.postgres_store.store import PostgresStore
from feedback_store.store_registry import open_store
from stages.collect.assignments import Assignments
from stages.collect.shared_state import leases_of
from stages.collect.tasks import Answer


def server(store: PostgresStore, place: Any) -> Assignments:
    """Another server of the collection, with connections of its own."""
    own = open_store(store.location)
    leases = leases_of(own, place.folder)
    return Assignments(place.plan, own, leases, place.settings, seed=0, source="web", clock=leases.clock)


def answer(desk: Assignments, who: str, key: str, what: str = "a", judgment: str = "") -> Any:
    accepted = desk.check(who, [Answer(judgment or uuid.uuid4().hex, key, what)])
    desk.commit(accepted.judgments, accepted.late)
    return accepted
