"""Retraction: a row whose cell `retracts` names another row takes that row back. Nothing is ever removed.

A row is current unless it retracts another row or was retracted, in whatever order the two are stored. `current_rows`
implements this for tables, `StoredIds` for appends and for reading row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from feedback_store.errors import FeedbackError, shown


def current_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The current rows of a complete table, in order."""
    retracting = frame["retracts"] != ""
    if not retracting.any():
        return frame
    retracted = set(frame.loc[retracting, "retracts"])
    return frame[~retracting & ~frame["id"].isin(retracted)]


class StoredIds:
    """The ids of a table's rows, and which of them were retracted.

    Attributes:
        ids: of all rows.
        retracted: ids that some row retracts.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.retracted: set[str] = set()

    def learn(self, ids: Iterable[str], retracts: Iterable[str]) -> None:
        """Add stored rows: their ids, and the ids they retract (empty for none)."""
        self.ids.update(ids)
        self.retracted.update(filter(None, retracts))

    def new_rows(self, rows: Sequence[tuple[str, str]]) -> list[int]:
        """Positions, in order, of the rows that have to be stored; each row is its id and the id it retracts.

        Left out are rows whose id is stored or occurs earlier in `rows`, and rows that retract an already retracted row.

        Raises:
            FeedbackError: a row retracts one that does not exist.
        """
        fresh: dict[str, int] = {}
        for position, (row, _) in enumerate(rows):
            if row not in self.ids:
                fresh.setdefault(row, position)
        gone: set[str] = set()
        for row, position in list(fresh.items()):
            target = rows[position][1]
            if target and target not in self.ids and target not in fresh:
                raise FeedbackError(f"judgment {shown(row)} takes back {shown(target)}, which is not stored")
            if target and (target in gone or target in self.retracted):
                del fresh[row]
            elif target:
                gone.add(target)
        return list(fresh.values())
