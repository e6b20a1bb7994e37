"""A PostgreSQL server for the tests of a module, with migrated tables; skipped, with a reason, where there is none."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from uuid import uuid4

import pytest

from benchmarks.postgres_process import OWNER, PostgresProcess, postgres_programs
from feedback_store.postgres_store.migrate import migrate
from feedback_store.postgres_store.store import PostgresStore
from feedback_store.store_registry import open_store


def running_postgres() -> Iterator[PostgresProcess]:
    """The body of a fixture: a server without tables, whose password is in the environment."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (extra postgres)")
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    server, before = PostgresProcess(durable=False), os.environ.get("PGPASSWORD")
    os.environ["PGPASSWORD"] = server.password
    try:
        yield server
    finally:
        if before is None:
            del os.environ["PGPASSWORD"]
        else:
            os.environ["PGPASSWORD"] = before
        server.remove()


def migrated_postgres() -> Iterator[PostgresProcess]:
    """The same with tables, and the role that servers log in as."""
    for server in running_postgres():
        migrate(server.address(OWNER))
        server.add_server_role()
        yield server


def new_collection(server: PostgresProcess) -> PostgresStore:
    """An empty collection, opened as a server does."""
    store = open_store(f"{server.address()}?collection={uuid4().hex}")
    assert isinstance(store, PostgresStore)
    return store
