"""The PostgreSQL store: append-only, positions that miss nothing, no passwords, and a database that is restarted."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

import pytest
from support.postgres import new_collection

from benchmarks.postgres_process import OWNER, SERVER, PostgresProcess
from feedback_store.csv_store.line import line_of, lines_of
from feedback_store.errors import FeedbackError, UnreachableError
from feedback_store.postgres_store import database as database_module
from feedback_store.postgres_store.address import parse_address
from feedback_store.postgres_store.database import Database
from feedback_store.postgres_store.store import PostgresStore
from feedback_store.records import Comparison, PerImage, label_choice
from feedback_store.store import START, Position
from feedback_store.store_registry import open_store
from feedback_store.tables import TABLES, as_row
from pipeline.config import parse_config
from pipeline.errors import UserError

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (extra postgres)")

COMMON = {"annotator": "ann", "source": "web", "created_at": "2026-11-21T10:00:00.000Z"}


def choice(judgment: str, image: str = "img", **more: str) -> PerImage:
    return label_choice(image, "bee", id=judgment, **{**COMMON, **more})


def pair(judgment: str) -> Comparison:
    return Comparison(id=judgment, image_a="i", label_a="x", image_b="i", label_b="y", choice="a", **COMMON)  # type: ignore[arg-type]


@pytest.fixture
def store(postgres: PostgresProcess) -> PostgresStore:
    return new_collection(postgres)


PASSWORDS = [
    "postgresql://ann:s3cret@host/judgments",
    "postgresql://ann:s3cret@host:5432,other:5432/judgments?collection=a",
    "postgresql://host/judgments?user=ann&password=s3cret",
]


@pytest.mark.parametrize("address", PASSWORDS)
def test_an_address_with_a_password_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UserError, match=r"collect\.store.*PGPASSWORD.*pgpass.*PGSERVICEFILE") as refused:
        parse_config({"images": {"source": "digits"}, "collect": {"store": address}}, "test")
    assert "s3cret" not in str(refused.value)
    with pytest.raises(FeedbackError, match="holds a password") as refused_too:
        open_store(address)
    assert "s3cret" not in str(refused_too.value)


@pytest.mark.parametrize(
    ("location", "folder", "connection", "collection"),
    [
        (
            "postgresql://u@h:1/db?collection=a%20b&sslmode=require",
            None,
            "postgresql://u@h:1/db?sslmode=require",
            "a b",
        ),
        ("postgresql://h/db", Path("runs/one/feedback"), "postgresql://h/db", "one"),
        ("postgresql://h/db", Path("answers"), "postgresql://h/db", "answers"),
        ("postgresql", Path("runs/one/feedback"), "postgresql:///", "one"),
        ("postgresql:///db?host=/run/socket", Path("x"), "postgresql:///db?host=%2Frun%2Fsocket", "x"),
    ],
)
def test_an_address_has_a_connection_and_a_collection(
    location: str, folder: Path | None, connection: str, collection: str
) -> None:
    address = parse_address(location, folder)
    assert (address.connection, address.collection) == (connection, collection)
    assert parse_address(address.location, None) == address


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(FeedbackError, match=r"needs the package psycopg .*pip install 'image-rlhf\[postgres\]'"):
        open_store("postgresql://h/db?collection=a")


def test_an_address_without_a_collection_is_refused() -> None:
    with pytest.raises(FeedbackError, match=r"the collection is ''; name it in the address, \?collection=NAME"):
        open_store("postgresql://h/db")


@pytest.mark.parametrize("statement", ["UPDATE {} SET annotator = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
@pytest.mark.parametrize("table", TABLES)
def test_judgments_cannot_be_changed(
    postgres: PostgresProcess, store: PostgresStore, statement: str, table: str
) -> None:
    store.append([pair("1"), choice("2")])
    for user, refusal in ((SERVER, "permission denied"), (OWNER, "judgments are append-only")):
        with pytest.raises(psycopg.Error, match=refusal):
            postgres.execute(statement.format(f"image_rlhf.{table}"), user=user)
    assert store.check() == 2


def test_a_role_that_may_change_judgments_is_reported(
    postgres: PostgresProcess, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        new_collection(postgres).append([pair("1")])
        assert caplog.text == ""
        for _ in range(2):
            open_store(f"{postgres.address(OWNER)}?collection=owned").append([pair("1"), pair("2")])
    assert "the role owner may change and delete judgments" in caplog.text


def test_a_later_append_waits_for_an_earlier_one(store: PostgresStore, postgres: PostgresProcess) -> None:
    """So that no reader sees position 2 before position 1, which it would then never ask for."""
    other = open_store(store.location)
    with store.database.transaction() as connection:
        assert store._begin_write(connection)() == 0
        waiting = threading.Thread(target=other.append, args=([choice("second")],))
        waiting.start()
        blocked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while postgres.execute(blocked) == [(0,)]:
            assert waiting.is_alive(), "it must wait for the first"
        assert other.rows_since(START).rows == []
        connection.execute(
            "INSERT INTO image_rlhf.per_image SELECT %s, 1, 'first', '', '', '0', '', '', '', '', '', '', ''",
            (store.collection,),
        )
    waiting.join()
    assert [row["id"] for row in other.rows_since(START).rows] == ["first", "second"]


def test_readers_miss_nothing_while_many_write(store: PostgresStore) -> None:
    writers = [open_store(store.location) for _ in range(4)]
    threads = [
        threading.Thread(
            target=lambda one=one, n=n: [one.append([choice(f"{n}-{k}"), pair(f"{n}-{k}")]) for k in range(25)]
        )
        for n, one in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    seen, position = [], START
    while any(thread.is_alive() for thread in threads) or position != store.rows_since(START).position:
        added = store.rows_since(position)
        seen += added.rows
        assert added.position == str(len(seen))
        position = added.position
    assert [row["id"] for row in seen] == [row["id"] for row in store.rows_since(START).rows]
    assert len(seen) == 200


def test_the_database_is_restarted(postgres: PostgresProcess, store: PostgresStore) -> None:
    """What was not acknowledged is sent again, and is stored once, whether it was stored the first time or not."""
    store.append([choice("1")])
    postgres.stop("immediate")
    with pytest.raises(UnreachableError, match=r"cannot be reached.*start it, or check the address and the password"):
        store.append([choice("2")])
    with pytest.raises(UnreachableError):
        store.rows_since(START)
    postgres.start()
    assert store.append([choice("1"), choice("2")]) == 1
    postgres.restart()
    assert list(store.current("per_image")["id"]) == ["1", "2"], "reading connects again by itself"


def test_a_snapshot_does_not_grow(store: PostgresStore) -> None:
    store.append([choice("1"), pair("2"), choice("3", image="x")])
    taken, before = store.snapshot(), store.fingerprint()
    store.append([choice("4"), choice("back", retracts="1")])
    assert [len(taken.all_rows(table)) for table in TABLES] == [1, 2]
    assert list(taken.current("per_image")["id"]) == ["1", "3"]
    assert taken.fingerprint() == before
    assert list(before) == ["pairwise, first 1 rows", "per_image, first 2 rows"], "the manifest says how many"
    assert store.fingerprint() != before
    assert list(store.fingerprint()) == ["pairwise, first 1 rows", "per_image, first 4 rows"]
    assert (taken.rows_since(START).position, taken.is_empty()) == ("3", False)
    with pytest.raises(FeedbackError, match="opened as a snapshot"):
        taken.append([choice("5")])


def test_cells_are_stored_as_they_are(store: PostgresStore) -> None:
    odd = ["=1+1", "'", "''a", "\\.", "\\N", "NULL", '"', 'a"b', ",", " a ", "é🐜", "a\\nb", "-", "@x", "\ufeffx"]
    store.append([label_choice(cell, cell, id=str(n), **COMMON) for n, cell in enumerate(odd)])  # type: ignore[arg-type]
    rows = [as_row(label_choice(cell, cell, id=str(n), **COMMON)) for n, cell in enumerate(odd)]  # type: ignore[arg-type]
    assert store.all_rows("per_image").to_dict("records") == rows
    assert store.rows_since(START).rows == rows
    assert lines_of(store.all_rows("per_image"), TABLES["per_image"]) == b"".join(line_of(row.values()) for row in rows)


def test_an_id_that_no_index_can_hold_is_refused(store: PostgresStore) -> None:
    with pytest.raises(FeedbackError, match="has 401 characters; a PostgreSQL store takes at most 400"):
        store.append([choice("1"), choice("x" * 401)])
    assert store.is_empty()
    long = open_store(f"{store.address.connection}?collection={'🐜' * 200}")
    assert long.append([choice("🐜" * 400), choice("b", retracts="🐜" * 400)]) == 2


def test_rows_that_are_gone_are_noticed(store: PostgresStore) -> None:
    """A database that was restored from an older backup has fewer rows than were read."""
    store.append([choice("1"), choice("2")])
    added = store.rows_since(Position("5"))
    assert ([row["id"] for row in added.rows], added.position, added.reset) == (["1", "2"], "2", True)


def test_a_host_that_does_not_reply_is_not_waited_for_by_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now, tries = 100.0, 0

        def monotonic(self) -> float:
            return self.now

    clock, down = Clock(), Database("postgresql://h/db")

    def connect(address: str) -> None:
        clock.tries += 1
        clock.now += 5
        raise psycopg.OperationalError("timeout expired")

    monkeypatch.setattr(database_module, "time", clock)
    monkeypatch.setattr(database_module, "connect", connect)
    for after, tries in ((0, 1), (4, 1), (2, 2), (0, 2)):
        clock.now += after
        with pytest.raises(UnreachableError, match="cannot be reached"), down.connection():
            pass
        assert clock.tries == tries
