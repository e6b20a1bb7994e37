"""Retraction: a row whose cell `retracts` names another row takes that row back. Nothing is ever removed.

A row is current unless it takes back another or was taken back, wherever in the table the two stand. This is the one
implementation: of tables (`current_rows`), of what an append stores and of a fold over rows (`StoredIds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from feedback_store.errors import FeedbackError, shown


def current_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The current rows of a whole table, in their order."""
    retracting = frame["retracts"] != ""
    if not retracting.any():
        return frame
    retracted = set(frame.loc[retracting, "retracts"])
    return frame[~retracting & ~frame["id"].isin(retracted)]


class StoredIds:
    """The ids of a table's rows, and which of them were taken back.

    Attributes:
        ids: of all rows.
        retracted: ids that some row takes back.
    """

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.retracted: set[str] = set()

    def learn(self, ids: Iterable[str], retracts: Iterable[str]) -> None:
        """Rows that are stored: their ids, and the ids they take back, empty where they take back none."""
        self.ids.update(ids)
        self.retracted.update(filter(None, retracts))

    def new_rows(self, rows: Sequence[tuple[str, str]]) -> list[int]:
        """Which of some rows, given as id and id taken back, to store: their positions, in order.

        Left out are rows whose id is stored or was among the earlier ones, and rows that take back what is taken back
        already.

        Raises:
            FeedbackError: a row takes back one that does not exist.
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
