"""The first rows of a store: what a round of training read, and proof that they are still the same rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from feedback_store.errors import FeedbackError
from feedback_store.records import Judgment
from feedback_store.store import Added, FeedbackStore, Position, Written
from feedback_store.tables import TABLES, Row, TableName


@dataclass(frozen=True)
class Prefix:
    """The first rows of each table, retractions included.

    Attributes:
        rows: number of rows by table.
        sha256: hash of their cells, in order.
    """

    rows: Mapping[TableName, int]
    sha256: str

    @property
    def counts(self) -> list[int]:
        """Numbers of rows in the order of `TABLES`, as in the setting `collect.first_rows`."""
        return [self.rows[table] for table in TABLES]


def prefix_of(store: FeedbackStore, counts: Sequence[int] | None = None) -> Prefix:
    """The first rows of a store; without `counts` all that are stored now.

    Raises:
        FeedbackError: the store has fewer rows, or cannot be read.
    """
    frames = {table: store.all_rows(table) for table in TABLES}
    if counts is not None:
        frames = {
            table: _first(frame, count, store.table_location(table))
            for (table, frame), count in zip(frames.items(), counts, strict=True)
        }
    digest = hashlib.sha256()
    for table, frame in frames.items():
        digest.update(f"{table}\x1d".encode())
        for row in frame[list(TABLES[table])].itertuples(index=False, name=None):
            digest.update(("\x1f".join(map(str, row)) + "\x1e").encode())
    return Prefix({table: len(frame) for table, frame in frames.items()}, digest.hexdigest())


def _first(frame: pd.DataFrame, count: int, where: str) -> pd.DataFrame:
    if len(frame) < count:
        raise FeedbackError(
            f"{where}: {len(frame)} rows, fewer than the first {count} that are to be read; restore the missing rows"
        )
    return frame.iloc[:count]


class PrefixStore(FeedbackStore):
    """The first rows of another store, to read only.

    Args:
        counts: numbers of rows in the order of `TABLES`.
    """

    def __init__(self, store: FeedbackStore, counts: Sequence[int]) -> None:
        self.store, self.counts = store, dict(zip(TABLES, counts, strict=True))

    @property
    def location(self) -> str:
        return self.store.location

    @property
    def late(self) -> FeedbackStore:
        return self.store.late

    def write(self, judgments: Sequence[Judgment]) -> Written:
        raise FeedbackError(
            "collect.first_rows is set, so that only the first rows are read and nothing is stored; remove it"
        )

    def all_rows(self, table: TableName) -> pd.DataFrame:
        return _first(self.store.all_rows(table), self.counts[table], self.table_location(table))

    def rows_since(self, position: Position) -> Added:
        rows: list[Row] = []
        for table, columns in TABLES.items():
            cells = self.all_rows(table)[list(columns)].itertuples(index=False, name=None)
            rows += [dict(zip(columns, map(str, row), strict=True)) for row in cells]
        return Added(rows[int(position or 0) :], Position(str(len(rows))))

    def fingerprint(self) -> dict[str, str]:
        return {"judgments": prefix_of(self).sha256}

    def is_empty(self) -> bool:
        return not any(self.counts.values())

    def table_location(self, table: TableName) -> str:
        return self.store.table_location(table)

    def where(self, table: TableName, row: object) -> str:
        return self.store.where(table, row)


def limited(store: FeedbackStore, counts: Sequence[int] | None) -> FeedbackStore:
    """The store itself, or its first rows (`collect.first_rows`)."""
    return store if counts is None else PrefixStore(store, counts)
