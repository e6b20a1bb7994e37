"""The ids of a log's rows, and which of them were taken back: what decides whether a row is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from feedback_store.errors import FeedbackError, shown

Row = Sequence[str]


@dataclass
class KnownRows:
    """Args:
    retracts: place of the column that names the row taken back; None if there is none.
    """

    retracts: int | None
    ids: set[str] = field(default_factory=set)
    retracted: set[str] = field(default_factory=set)

    def learn(self, frame: pd.DataFrame) -> None:
        """Rows that are in the file."""
        self.ids.update(frame.iloc[:, 0])
        if self.retracts is not None:
            column = frame.iloc[:, self.retracts]
            self.retracted.update(column[column != ""])

    def add(self, rows: Sequence[Row]) -> None:
        """Rows that were just stored."""
        self.ids.update(row[0] for row in rows)
        if self.retracts is not None:
            self.retracted.update(row[self.retracts] for row in rows if row[self.retracts])

    def new_of(self, rows: Sequence[Row]) -> list[Row]:
        """The rows to store: without those whose id is stored, or that take back what is taken back already.

        Raises:
            FeedbackError: a row takes back one that does not exist.
        """
        fresh: dict[str, Row] = {}
        for row in rows:
            if row[0] not in self.ids:
                fresh.setdefault(row[0], row)
        if self.retracts is None:
            return list(fresh.values())
        gone: set[str] = set()
        for row in list(fresh.values()):
            target = row[self.retracts]
            if target and target not in self.ids and target not in fresh:
                raise FeedbackError(f"judgment {shown(row[0])} takes back {shown(target)}, which is not stored")
            if target and (target in gone or target in self.retracted):
                del fresh[row[0]]
            elif target:
                gone.add(target)
        return list(fresh.values())
