"""Leases in PostgreSQL, for any number of servers on one collection.

An item is assigned under a row lock of its own (`SELECT ... FOR UPDATE SKIP LOCKED`), so that servers do not wait for
each other: an item that another server is assigning now is left to it. Times are those of the database's clock, read
after the lock was granted. So two servers never disagree about whether a lease has expired, however wrong their clocks.

A lease belongs to an annotator, not to a server. If a server dies, its transactions are rolled back and its annotators
go on at another server with the same leases; what nobody answers expires.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from feedback_store.errors import FeedbackError
from feedback_store.postgres_store.database import Database
from feedback_store.postgres_store.driver import named_errors
from stages.collect.lease_keeper import Lease, LeaseKeeper, LeasesError

if TYPE_CHECKING:
    import psycopg

_COLUMNS = "annotator, item, occasion, until, answer"
_NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision"
MAX_CLOCK_AGE = 30.0  # seconds after which the difference to the database's clock is measured again


class PostgresLeases(LeaseKeeper):
    """Args:
    collection: of the judgments.
    """

    locks_all = False

    def __init__(self, database: Database, collection: str) -> None:
        self._database, self._collection = database, collection
        self._guard = threading.RLock()  # one thread at a time has the transaction
        self._transaction: psycopg.Connection | None = None
        self._frozen: float | None = None  # the database's time in a transaction, since its last lock
        self._ahead, self._measured = 0.0, float("-inf")  # of this machine's monotonic clock; and when
        self._known: set[str] = set()  # items that have a row to lock

    def clock(self) -> float:
        with self._guard:
            if self._frozen is not None:
                return self._frozen
            if time.monotonic() - self._measured > MAX_CLOCK_AGE:
                ((now,),) = self._rows(_NOW)
                self._set_clock(now)
            return time.monotonic() + self._ahead

    def _set_clock(self, now: float) -> None:
        self._measured = time.monotonic()
        self._ahead = now - self._measured

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        own: BaseException | None = None  # an error of the caller, which stays as it is
        with self._guard:
            try:
                with self._database.transaction() as connection:
                    # As with a file, a power cut may lose the last leases: nobody waits for the disk because of them.
                    connection.execute("SET LOCAL synchronous_commit = off")
                    self._transaction = connection
                    try:
                        yield
                    except BaseException as error:
                        own = error
                        raise
            except FeedbackError as error:
                if error is own:
                    raise
                raise LeasesError(str(error)) from error
            finally:
                self._transaction = self._frozen = None

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a query, in the open transaction if there is one."""
        return self._execute(query, *values, rows=True)

    def _execute(self, query: str, *values: Any, rows: bool = False) -> list[tuple[Any, ...]]:
        with self._guard:
            open_connection = nullcontext(self._transaction) if self._transaction else self._database.connection()
            try:
                with named_errors(self._database.address), open_connection as connection:
                    found = connection.execute(query, values)
                    return found.fetchall() if rows else []
            except FeedbackError as error:
                raise LeasesError(str(error)) from error

    def lock(self, items: Collection[str], *, wait: bool = False) -> set[str]:
        assert self._transaction is not None, "locks end with a transaction"
        if not items:
            return set()
        self._make_rows(items)
        # In the order of their keys, so that two servers that wait never wait for each other.
        query = (
            "SELECT item FROM image_rlhf.items WHERE collection = %s AND item = ANY(%s) ORDER BY item FOR UPDATE"
            + ("" if wait else " SKIP LOCKED")
        )
        try:
            with named_errors(self._database.address):
                found = self._transaction.execute(query, (self._collection, list(items)))
                now = self._transaction.execute(
                    _NOW
                )  # a statement of its own: the one before was evaluated before its locks
                locked = {item for (item,) in found.fetchall()}
                ((self._frozen,),) = now.fetchall()
        except FeedbackError as error:
            raise LeasesError(str(error)) from error
        self._set_clock(self._frozen)
        return locked

    def _make_rows(self, items: Collection[str]) -> None:
        """Rows to lock; committed at once by another connection, so that no other server waits for this transaction."""
        if new := [item for item in items if item not in self._known]:
            query = (
                "INSERT INTO image_rlhf.items (collection, item) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING"
            )
            try:
                with self._database.connection() as connection:
                    connection.execute(query, (self._collection, sorted(new)))
            except FeedbackError as error:
                raise LeasesError(str(error)) from error
            self._known.update(new)

    def held(self, now: float, *, annotator: str | None = None, items: Collection[str] | None = None) -> list[Lease]:
        query = f"SELECT {_COLUMNS} FROM image_rlhf.leases WHERE collection = %s AND state = 'held' AND until > %s"
        values: list[Any] = [self._collection, now]
        if annotator is not None:
            query, values = f"{query} AND annotator = %s", [*values, annotator]
        if items is not None:
            query, values = f"{query} AND item = ANY(%s)", [*values, list(items)]
        return [Lease(*row) for row in self._rows(query, *values)]

    def lock_own(self, annotator: str, now: float) -> list[Lease]:
        locked = self.lock([lease.item for lease in self.held(now, annotator=annotator)])
        return self.held(self.clock(), annotator=annotator, items=locked) if locked else []

    def of(self, annotator: str, item: str) -> Lease | None:
        query = f"SELECT {_COLUMNS} FROM image_rlhf.leases WHERE collection = %s AND annotator = %s AND item = %s AND state <> 'done'"
        return next((Lease(*row) for row in self._rows(query, self._collection, annotator, item)), None)

    def answered_by(self, answer: str) -> list[tuple[str, str]]:
        query = "SELECT annotator, item FROM image_rlhf.leases WHERE collection = %s AND answer <> '' AND answer = %s"
        return [(annotator, item) for annotator, item in self._rows(query, self._collection, answer)]

    def skipped(self, annotator: str) -> list[str]:
        query = "SELECT item FROM image_rlhf.leases WHERE collection = %s AND annotator = %s AND state = 'skipped' ORDER BY until"
        return [item for (item,) in self._rows(query, self._collection, annotator)]

    def grant(self, annotator: str, item: str, occasion: int, until: float, *, answer: str = "") -> None:
        self._put(annotator, item, occasion, until, "held", answer)

    def skip(self, annotator: str, item: str, occasion: int, now: float) -> None:
        self._put(annotator, item, occasion, now, "skipped", "")

    def _put(self, annotator: str, item: str, occasion: int, until: float, state: str, answer: str) -> None:
        self._execute(
            "INSERT INTO image_rlhf.leases (collection, annotator, item, occasion, until, state, answer) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (collection, annotator, item) DO UPDATE SET "
            "occasion = excluded.occasion, until = excluded.until, state = excluded.state, answer = excluded.answer",
            *(self._collection, annotator, item, occasion, until, state, answer),
        )

    def done(self, annotator: str, item: str, answer: str) -> None:
        self._execute(
            "UPDATE image_rlhf.leases SET state = 'done' WHERE collection = %s AND annotator = %s AND item = %s AND answer = %s",
            *(self._collection, annotator, item, answer),
        )

    def reopen(self, annotator: str, answer: str) -> None:
        self._execute(
            "UPDATE image_rlhf.leases SET answer = '' WHERE collection = %s AND annotator = %s AND answer <> '' AND answer = %s",
            *(self._collection, annotator, answer),
        )

    def release(self, annotator: str, items: Sequence[str], now: float) -> None:
        self._execute(
            "UPDATE image_rlhf.leases SET until = %s WHERE collection = %s AND annotator = %s AND item = ANY(%s) "
            "AND state = 'held' AND answer = ''",
            *(now, self._collection, annotator, list(items)),
        )
