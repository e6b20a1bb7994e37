"""`image-rlhf store migrate`: numbered SQL files make and change the tables; their version is recorded in the database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from feedback_store.errors import FeedbackError
from feedback_store.postgres_store.driver import MIGRATE, connect, named_errors, require_driver

if TYPE_CHECKING:
    import psycopg

LOCK = 0x696D6167655F726C  # of migrations, among the advisory locks of a database
_PREPARE = """
CREATE SCHEMA IF NOT EXISTS image_rlhf;
CREATE TABLE IF NOT EXISTS image_rlhf.migrations (
    version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True)
class Migration:
    """One file: its number, its name and its SQL, which may run again without harm."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All migrations of this version of the program, in order."""
    found = []
    for file in files("feedback_store.postgres_store").joinpath("migrations").iterdir():
        if named := re.fullmatch(r"(\d{4})_\w+\.sql", file.name):
            found.append(Migration(int(named[1]), file.name, file.read_text(encoding="utf-8")))
    return sorted(found, key=lambda one: one.version)


def migrate(address: str) -> list[str]:
    """Apply the migrations that a database lacks, all of them or none; returns their names.

    Two calls at once do it one after the other: an advisory lock is held until the commit.

    Args:
        address: as libpq reads it; the role must be allowed to create a schema, and a role unless there is one.

    Raises:
        UnreachableError: the database cannot be reached.
        FeedbackError: a privilege is missing, the encoding is not UTF-8, or a newer program made the tables.
    """
    require_driver()
    with named_errors(address), connect(address, application="image-rlhf store migrate") as connection:
        connection.execute("SET lock_timeout = 0")  # another migration may take its time
        (encoding,) = _one(connection, "SHOW server_encoding")
        if encoding != "UTF8":
            raise FeedbackError(f"{address}: the database's encoding is {encoding}; create one with ENCODING 'UTF8'")
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            done = stored_version(connection) or 0
            _must_not_be_newer(done, address)
            todo = [one for one in migrations() if one.version > done]
            if todo:
                connection.execute(_PREPARE)
            for one in todo:
                connection.execute(one.sql)
                connection.execute(
                    "INSERT INTO image_rlhf.migrations (version, name) VALUES (%s, %s)", (one.version, one.name)
                )
    return [one.name for one in todo]


def stored_version(connection: psycopg.Connection) -> int | None:
    """The version of the tables; None if there are none."""
    if _one(connection, "SELECT to_regclass('image_rlhf.migrations')") == (None,):
        return None
    (version,) = _one(connection, "SELECT coalesce(max(version), 0) FROM image_rlhf.migrations")
    return int(version)


def must_be_current(connection: psycopg.Connection, address: str) -> None:
    """Raise FeedbackError unless the tables are those that this version of the program uses."""
    needed, stored = migrations()[-1].version, stored_version(connection)
    if stored is None or stored < needed:
        has = "no tables of image-rlhf" if stored is None else f"version {stored} of the tables"
        command = MIGRATE.replace("ADDRESS", f"'{address}'")
        raise FeedbackError(f"{address}: it has {has}, and this program needs version {needed}; run `{command}`")
    _must_not_be_newer(stored, address)


def _must_not_be_newer(stored: int, address: str) -> None:
    newest = migrations()[-1].version
    if stored > newest:
        raise FeedbackError(
            f"{address}: a newer version of this program made the tables (version {stored}, this one knows {newest}); "
            "install that version"
        )


def _one(connection: psycopg.Connection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None, "these queries return one row"
    return tuple(row)
