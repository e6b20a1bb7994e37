"""Connections to one database, shared by the threads of a process and made anew after it was restarted."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from feedback_store.errors import UnreachableError
from feedback_store.postgres_store.driver import connect, named_errors, require_driver
from feedback_store.postgres_store.migrate import must_be_current

if TYPE_CHECKING:
    import psycopg

Result = TypeVar("Result")
SHORT_SECONDS = 1.0  # a connection that is refused at once may be tried again at once
MAX_IDLE = 4  # connections that are kept for the next use


class Database:
    """Args:
    connection: an address as libpq reads it, without a password.
    """

    def __init__(self, connection: str) -> None:
        require_driver()
        self.address = connection
        self._idle: list[psycopg.Connection] = []
        self._guard = threading.Lock()
        self._down_until = 0.0  # of the monotonic clock
        weakref.finalize(self, _close_all, self._idle)

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """A connection for one thread; an open transaction is rolled back at the end.

        Raises:
            UnreachableError: the database cannot be reached, or was restarted.
            FeedbackError: the tables are missing or old, a privilege is missing, or a statement failed.
        """
        with named_errors(self.address):
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """A connection in a transaction, which is committed at the end.

        Statements whose rows nobody reads are sent together with the next one that has a reader, or with the commit: on a busy
        machine every reply that is waited for costs more than its statement.

        Raises:
            UnreachableError, FeedbackError: as `connection`; after a commit that failed it is unknown what is stored.
        """
        import psycopg

        with self.connection() as connection:
            pipeline = connection.pipeline() if psycopg.capabilities.has_pipeline() else nullcontext()
            with pipeline:
                connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                yield connection  # after an error `_give_back` rolls back
                connection.execute("COMMIT")

    def reading(self, read: Callable[[psycopg.Connection], Result]) -> Result:
        """What `read` returns; it is called again, once, if a connection turns out to be dead.

        Raises:
            UnreachableError, FeedbackError: as `connection`.
        """
        try:
            with self.connection() as connection:
                return read(connection)
        except UnreachableError:
            with self.connection() as connection:
                return read(connection)

    def close(self) -> None:
        """Close the idle connections; others are made when they are needed."""
        with self._guard:
            _close_all(self._idle)

    def _take(self) -> psycopg.Connection:
        with self._guard:
            if self._idle:
                return self._idle.pop()
        connection = self._connect()
        try:
            must_be_current(connection, self.address)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> psycopg.Connection:
        """A new connection. After a time-out nobody waits for another one for a while, so that a page still gets replies."""
        started = time.monotonic()
        if started < self._down_until:
            raise UnreachableError(
                f"{self.address}: the database cannot be reached (no reply); check the network and its host"
            )
        try:
            return connect(self.address)
        except BaseException:
            waited = time.monotonic() - started
            self._down_until = time.monotonic() + (waited if waited > SHORT_SECONDS else 0)
            raise

    def _give_back(self, connection: psycopg.Connection) -> None:
        from psycopg.pq import TransactionStatus

        if not connection.closed and connection.info.transaction_status != TransactionStatus.IDLE:
            try:
                connection.rollback()
            except Exception:  # it broke: there is nothing to roll back any more
                connection.close()
        if connection.closed:
            self.close()  # the idle ones are as dead
            return
        with self._guard:
            if len(self._idle) < MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()


def _close_all(connections: list[psycopg.Connection]) -> None:
    while connections:
        connections.pop().close()
