"""PostgresStore: the judgments of one collection in PostgreSQL, shared by any number of processes and machines.

A position is the number of rows of the collection up to it. Appends to a collection are serialised by an advisory lock
that is held until the transaction has committed. So positions have no gaps and become visible in their order: a reader
that has seen position 7 never has to expect a row at 6 that commits later, as with a plain sequence, and rows that were
read once stay the first rows for ever. The lock costs nothing that matters: a server commits all answers that wait in
one transaction, and collections do not wait for each other.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pandas as pd

from feedback_store.copied_rows import CopiedRows
from feedback_store.csv_store.checks import check_pairwise, check_per_image
from feedback_store.csv_store.line import lines_of
from feedback_store.errors import FeedbackError
from feedback_store.postgres_store import rows as table_rows
from feedback_store.postgres_store.address import Address
from feedback_store.postgres_store.database import Database
from feedback_store.postgres_store.driver import ROLE
from feedback_store.records import Judgment
from feedback_store.store import Added, FeedbackStore, Position, Written
from feedback_store.tables import TABLES, Row, TableName, as_row, table_of

if TYPE_CHECKING:
    import psycopg

_log = logging.getLogger(__name__)

CHECKS: Mapping[TableName, Any] = {"pairwise": check_pairwise, "per_image": check_per_image}


class PostgresStore(FeedbackStore):
    """Args:
    database: where the tables are.
    address: with the name of the collection.
    until: position up to which rows are read, for a snapshot; None: all, and rows can be stored.
    """

    concurrent_reads = True

    def __init__(self, database: Database, address: Address, until: int | None = None) -> None:
        self.database, self.address, self.until = database, address, until
        self.collection = address.collection
        self._hashed: dict[TableName, tuple[Any, int, int]] = {}  # hash of the first rows, their number, last position
        self._told = False

    @classmethod
    def at(cls, address: Address) -> PostgresStore:
        """The store at an address, which is not connected to before it is used."""
        return cls(Database(address.connection), address)

    @property
    def location(self) -> str:
        return self.address.location

    @property
    def late(self) -> PostgresStore:
        return PostgresStore(self.database, Address(self.address.connection, f"{self.collection}/late"))

    def snapshot(self) -> PostgresStore:
        return PostgresStore(self.database, self.address, self.database.reading(self._end))

    def _end(self, connection: psycopg.Connection) -> int:
        return table_rows.end_of(connection, self.collection) if self.until is None else self.until

    def _begin_write(self, connection: psycopg.Connection) -> Callable[[], int]:
        """Keep other writers of the collection out until the end of the transaction; returns what waits for the last position."""
        if self.until is not None:
            raise FeedbackError(f"{self.location}: it was opened as a snapshot, in which nothing can be stored")
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"image_rlhf {self.collection}",))
        return table_rows.ask_end(connection, self.collection)

    def write(self, judgments: Sequence[Judgment]) -> Written:
        by_table: dict[TableName, list[Row]] = {}
        for judgment in judgments:
            by_table.setdefault(table_of(judgment), []).append(as_row(judgment))
        with self.database.transaction() as connection:
            position, stored = (
                self._begin_write(connection),
                table_rows.known_ids(connection, self.collection, by_table),
            )
            start = end = position()
            for table, known in stored().items():
                given = by_table[table]
                new = [given[n] for n in known.new_rows([(row["id"], row["retracts"]) for row in given])]
                end = table_rows.insert(connection, self.collection, table, new, end)
        self._tell_privileges()
        return Written(end - start, Position(str(start)), Position(str(end)))

    def _tell_privileges(self) -> None:
        """Warn, once, if this role could change or delete judgments."""
        if self._told:
            return
        self._told = True
        query = "SELECT current_user, has_table_privilege('image_rlhf.pairwise', 'UPDATE, DELETE, TRUNCATE')"
        with suppress(FeedbackError):  # what was written is stored, whatever comes of this
            ((role, may_change),) = self.database.reading(lambda connection: connection.execute(query).fetchall())
            if may_change:
                _log.warning(
                    f"{self.location}: the role {role} may change and delete judgments; log in as a role that is only a member "
                    f"of {ROLE}"
                )

    def all_rows(self, table: TableName) -> pd.DataFrame:
        """Every row of a table, checked; the index is the row's position."""
        return self.database.reading(lambda connection: pd.concat(list(self._frames(connection, table))))

    def _frames(self, connection: psycopg.Connection, table: TableName, start: int = 0) -> Iterator[pd.DataFrame]:
        for frame in table_rows.frames(connection, self.collection, table, start, self._end(connection)):
            CHECKS[table](frame, self.table_location(table))
            yield frame

    def pieces(self, table: TableName) -> Iterator[pd.DataFrame]:
        with self.database.connection() as connection:
            yield from self._frames(connection, table)

    def rows_since(self, position: Position) -> Added:
        return self.database.reading(lambda connection: self._rows_since(connection, position))

    def _rows_since(self, connection: psycopg.Connection, position: Position) -> Added:
        start, end = int(position) if position.isdecimal() else 0, self._end(connection)
        # Rows that were read can only be gone if the database was restored from an older backup.
        reset = start > end or bool(position and not position.isdecimal())
        start = 0 if reset else start
        if start == end:
            return Added([], Position(str(end)), reset)
        found = [
            row for table in TABLES for row in table_rows.rows_between(connection, self.collection, table, start, end)
        ]
        found.sort(key=lambda row: row[0])
        return Added([row for _, row in found], Position(str(end)), reset)

    def fingerprint(self) -> dict[str, str]:
        """The hash of each table's rows, as lines of the CSV store, by the table and the number of its rows."""
        return self.database.reading(self._fingerprint)

    def _fingerprint(self, connection: psycopg.Connection) -> dict[str, str]:
        end, hashes = self._end(connection), {}
        for table in TABLES:
            # Rows never change, so that what was hashed before is still right.
            digest, count, position = self._hashed.get(table, (hashlib.sha256(), 0, 0))
            digest = digest.copy()
            for frame in table_rows.frames(connection, self.collection, table, position, end):
                digest.update(lines_of(frame, TABLES[table]))
                count += len(frame)
            self._hashed[table] = (digest, count, end)
            if count:
                hashes[f"{table}, first {count} rows"] = digest.hexdigest()
        return hashes

    def is_empty(self) -> bool:
        return self.database.reading(self._end) == 0

    def copy_in(self, pieces: Mapping[TableName, Iterable[pd.DataFrame]]) -> int:
        with self.database.connection() as connection, connection.transaction():
            end = self._begin_write(connection)()
            added = 0
            for table, frames in pieces.items():
                stored = table_rows.frames(connection, self.collection, table, 0, end)
                rows = CopiedRows(TABLES[table], stored, self.table_location(table))
                position = end + added
                for frame in rows.new(frames):
                    CHECKS[table](frame, self.table_location(table))
                    position = table_rows.copy_in(connection, self.collection, table, frame, position)
                added = position - end
        return added
