"""A store of judgments in memory, for tests: the smallest FeedbackStore, and an example of how to write another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import pandas as pd

from feedback_store.records import Judgment
from feedback_store.retraction import StoredIds
from feedback_store.store import Added, FeedbackStore, Position, Written
from feedback_store.tables import TABLES, Row, TableName, as_row, table_of


@dataclass
class Contents:
    """The rows of one collection, in the order they were stored, each with its table."""

    rows: list[tuple[TableName, Row]] = field(default_factory=list)
    known: dict[TableName, StoredIds] = field(default_factory=lambda: {name: StoredIds() for name in TABLES})


CONTENTS: dict[str, Contents] = {}  # of all collections of this process, by name
_LOCK = RLock()


class MemoryStore(FeedbackStore):
    """Args:
    name: of the collection; stores of the same name share their judgments.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._contents = CONTENTS.setdefault(name, Contents())

    @property
    def location(self) -> str:
        return f"memory of {self._name}"

    @property
    def late(self) -> MemoryStore:
        return MemoryStore(f"{self._name}/late")

    def write(self, judgments: Sequence[Judgment]) -> Written:
        with _LOCK:
            start = self._position()
            new: list[tuple[TableName, Row]] = []
            for table, known in self._contents.known.items():
                rows = [as_row(judgment) for judgment in judgments if table_of(judgment) == table]
                kept = known.new_rows([(row["id"], row["retracts"]) for row in rows])
                new += [(table, rows[number]) for number in kept]
            for table, row in new:
                self._contents.known[table].learn([row["id"]], [row["retracts"]])
            self._contents.rows += new
            return Written(len(new), start, self._position())

    def _position(self) -> Position:
        return Position(str(len(self._contents.rows)))

    def all_rows(self, table: TableName) -> pd.DataFrame:
        rows = [row for name, row in self._contents.rows if name == table]
        return pd.DataFrame(rows, columns=list(TABLES[table]), dtype=str)

    def rows_since(self, position: Position) -> Added:
        with _LOCK:
            return Added([row for _, row in self._contents.rows[int(position or 0) :]], self._position())

    def fingerprint(self) -> dict[str, str]:
        text = json.dumps(self._contents.rows).encode()
        return {"judgments": hashlib.sha256(text).hexdigest()} if self._contents.rows else {}

    def is_empty(self) -> bool:
        return not self._contents.rows


def open_memory(location: str, folder: Path) -> MemoryStore:
    """What is registered: `memory` keeps a collection under its folder's name, `memory://name` under that name."""
    return MemoryStore(location.partition("://")[2] or str(folder))
