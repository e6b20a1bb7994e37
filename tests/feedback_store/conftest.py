"""Fixtures of the tests of stores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.postgres import migrated_postgres

from benchmarks.postgres_process import PostgresProcess


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    """A PostgreSQL server with the tables."""
    yield from migrated_postgres()
