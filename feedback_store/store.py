"""FeedbackStore: what every store of judgments does. Callers know no paths, byte offsets or line numbers.

`feedback_store.csv_store.store` keeps judgments in CSV files. Another store is a subclass that is registered in
`feedback_store.store_registry`; tests/extensions/memory_store.py is a small example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

import pandas as pd

from feedback_store import agreement
from feedback_store.csv_store.checks import check_names
from feedback_store.records import Judgment
from feedback_store.retraction import current_rows
from feedback_store.tables import TABLES, Row, TableName

Position = NewType("Position", str)  # how far somebody has read; opaque, and valid in another process, too
START = Position("")  # before the first row


@dataclass(frozen=True)
class Written:
    """What `FeedbackStore.write` did.

    Attributes:
        count: rows that were new.
        start, end: positions between which there are these rows and no others.
    """

    count: int
    start: Position
    end: Position


@dataclass(frozen=True)
class Added:
    """Rows since a position.

    Attributes:
        rows: by column, every cell text; those of each table in the order they were stored.
        position: behind the last of them.
        anew: rows that were read before are no longer stored, and `rows` are all there are.
    """

    rows: list[Row]
    position: Position
    anew: bool = False


class FeedbackStore(ABC):
    """Append judgments; read those that were not taken back. A store is safe to share between threads and processes."""

    @staticmethod
    def open(location: str | Path, folder: Path | None = None) -> FeedbackStore:
        """Open the store at a location, e.g. a folder of CSV files; see `feedback_store.store_registry.open_store`."""
        from feedback_store.store_registry import open_store  # which refers to this class

        return open_store(location, folder)

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the judgments are, for messages; without passwords."""

    @property
    @abstractmethod
    def late(self) -> FeedbackStore:
        """A store of its own for answers that came too late: they are kept and not counted."""

    @abstractmethod
    def write(self, judgments: Sequence[Judgment]) -> Written:
        """Store judgments durably, as `append` does, and say where they are.

        Raises:
            ChangedError: what is stored was changed or removed by something else; nothing is added to it.
            FeedbackError: a judgment takes back one that does not exist, or the store refused; send all of them again then.
        """

    @abstractmethod
    def all_rows(self, table: TableName) -> pd.DataFrame:
        """Every row ever stored, checked; text columns as in `TABLES`, and an index that `where` understands.

        Raises:
            ChangedError: what is stored was changed or removed by something else.
            FeedbackError: a row is invalid; the message says where it is.
        """

    @abstractmethod
    def rows_since(self, position: Position) -> Added:
        """What was stored behind a position, by whomever.

        Raises:
            ChangedError: what is stored was changed or removed by something else.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """Hashes of all that is stored, by name: the inputs of what is made from it. Equal contents have equal hashes."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is no row.

        Raises:
            ChangedError: there were rows, and they are gone.
        """

    def append(self, judgments: Sequence[Judgment]) -> int:
        """Store judgments durably; those whose id is stored already are left alone. Returns how many were new.

        A judgment that takes back what is taken back already is not stored again.

        Raises:
            ChangedError: what is stored was changed or removed by something else; nothing is added to it.
            FeedbackError: a judgment takes back one that does not exist, or the store refused; send all of them again then.
        """
        return self.write(judgments).count

    def current(self, table: TableName) -> pd.DataFrame:
        """Judgments of a table that were not taken back, in the order they were given."""
        return current_rows(self.all_rows(table))

    def comparisons(self) -> pd.DataFrame:
        """Current judgments of two sides."""
        return self.current("pairwise")

    def per_image_judgments(self, question: str | None = None) -> pd.DataFrame:
        """Current label choices, verdicts and ratings; of one question, if it is named."""
        frame = self.current("per_image")
        return frame if question is None else frame[frame["question"] == question]

    def quality(self, gold: Mapping[str, str] | None = None, fast_ms: int = agreement.FAST_MS) -> agreement.Quality:
        """How far the current judgments can be trusted.

        Args:
            gold: true class of each image whose class is known.
            fast_ms: answers below this number of milliseconds count as too fast.
        """
        return agreement.quality(self.comparisons(), self.per_image_judgments(), gold, fast_ms)

    def check(self, images: Collection[str] | None = None, classes: Collection[str] | None = None) -> int:
        """Read all and raise FeedbackError at the first thing that is wrong; returns the number of rows.

        Args:
            images: ids that exist; None if they are not known here.
            classes: class names that exist; None likewise.
        """
        tables = {name: self.all_rows(name) for name in TABLES}
        for name, frame in tables.items():
            check_names(frame, self.table_location(name), images, classes)
        return sum(len(frame) for frame in tables.values())

    def table_location(self, table: TableName) -> str:
        """Where a table is, for messages."""
        return f"{self.location}, table {table}"

    def where(self, table: TableName, row: object) -> str:
        """Where a row is, for messages, by its label in the index of `all_rows`."""
        return f"{self.table_location(table)}, row {row}"

    def accept(self) -> list[str]:
        """Take what is stored now, here and in `late`, for what was meant: its owner changed it on purpose.

        Returns:
            places of copies of what was there before, if something had to be rewritten.

        Raises:
            FeedbackError: it cannot be read; nothing was changed.
        """
        return []

    def unverified(self) -> int:
        """Number of rows for which the store has nothing that would show a later change; none in most stores."""
        return 0
