"""Migrations: numbered, repeatable, safe when two run at once, and asked for by name where they are missing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner
from support.postgres import running_postgres

from benchmarks.postgres_process import OWNER, SERVER, PostgresProcess
from feedback_store.errors import FeedbackError
from feedback_store.postgres_store import migrate as module
from feedback_store.postgres_store.migrate import migrate, migrations
from feedback_store.store import FeedbackStore
from feedback_store.store_registry import open_store
from stages.cli import main

NAMES = ["0001_judgments.sql", "0002_servers.sql"]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresProcess]:
    yield from running_postgres()


@pytest.fixture
def database(server: PostgresProcess) -> str:
    """The name of a new database without tables."""
    name = f"d{uuid4().hex}"
    server.execute(f"CREATE DATABASE {name}")
    return name


def opened(server: PostgresProcess, database: str, user: str = OWNER) -> FeedbackStore:
    return open_store(f"{server.address(user, database)}?collection=one")


def test_a_database_without_tables_names_the_command(server: PostgresProcess, database: str) -> None:
    address = server.address(OWNER, database)
    needed = f"it has no tables of image-rlhf, and this program needs version 2; run `image-rlhf store migrate --store '{address}'`"
    with pytest.raises(FeedbackError) as missing:
        opened(server, database).is_empty()
    assert needed in str(missing.value)


def test_the_command_makes_the_tables_once(server: PostgresProcess, database: str) -> None:
    address = server.address(OWNER, database)
    for said in (f"applied {', '.join(NAMES)}", "the tables are current"):
        done = CliRunner().invoke(main, ["store", "migrate", "--store", address])
        assert (done.exit_code, done.output) == (0, f"{address}: {said}\n")
    assert server.execute("SELECT version, name FROM image_rlhf.migrations ORDER BY 1", database=database) == [
        *enumerate(NAMES, start=1)
    ]
    assert opened(server, database).is_empty()


def test_two_at_once_apply_each_migration_once(server: PostgresProcess, database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: migrate(server.address(OWNER, database)), range(4)))
    assert sorted(done) == [[], [], [], NAMES]


def test_a_migration_may_run_again(server: PostgresProcess, database: str) -> None:
    migrate(server.address(OWNER, database))
    for one in migrations():
        server.execute(one.sql, database=database)
    assert opened(server, database).is_empty()


def test_an_old_database_names_the_command_and_is_brought_up_to_date(server: PostgresProcess, database: str) -> None:
    migrate(server.address(OWNER, database))
    server.execute("DELETE FROM image_rlhf.migrations WHERE version = 2", database=database)
    with pytest.raises(
        FeedbackError, match="it has version 1 of the tables, and this program needs version 2; run `image"
    ):
        opened(server, database).is_empty()
    assert migrate(server.address(OWNER, database)) == NAMES[1:]
    assert opened(server, database).is_empty()


def test_a_newer_database_is_left_alone(server: PostgresProcess, database: str) -> None:
    migrate(server.address(OWNER, database))
    server.execute("INSERT INTO image_rlhf.migrations (version, name) VALUES (3, 'x')", database=database)
    for use in (lambda: opened(server, database).is_empty(), lambda: migrate(server.address(OWNER, database))):
        with pytest.raises(FeedbackError, match=r"a newer version .* \(version 3, this one knows 2\); install that"):
            use()


def test_a_migration_that_fails_changes_nothing(
    server: PostgresProcess, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = [*migrations(), module.Migration(3, "0003_broken.sql", "CREATE TABLE image_rlhf.x (a int); SELECT 1/0")]
    monkeypatch.setattr(module, "migrations", lambda: broken)
    with pytest.raises(FeedbackError, match="division by zero"):
        migrate(server.address(OWNER, database))
    assert server.execute("SELECT to_regclass('image_rlhf.pairwise')", database=database) == [(None,)]


def test_roles_without_privileges_are_told_what_to_do(server: PostgresProcess, database: str) -> None:
    migrate(server.address(OWNER, database))
    server.execute(f"CREATE ROLE stranger LOGIN PASSWORD '{server.password}'")
    with pytest.raises(FeedbackError, match=r"GRANT image_rlhf_server TO"):
        opened(server, database, "stranger").is_empty()
    server.add_server_role()
    assert opened(server, database, SERVER).is_empty()
    other = f"d{uuid4().hex}"
    server.execute(f"CREATE DATABASE {other}")
    with pytest.raises(FeedbackError, match="for `store migrate` as the owner of the database"):
        migrate(server.address(SERVER, other))


def test_another_encoding_is_refused(server: PostgresProcess) -> None:
    name = f"d{uuid4().hex}"
    server.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(FeedbackError, match="the database's encoding is LATIN1; create one with ENCODING 'UTF8'"):
        migrate(server.address(OWNER, name))


def test_files_are_numbered_without_gaps() -> None:
    assert [one.version for one in migrations()] == list(range(1, len(NAMES) + 1))
    folder = Path(module.__file__).parent / "migrations"
    assert sorted(path.name for path in folder.iterdir()) == NAMES == [one.name for one in migrations()]
