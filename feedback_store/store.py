"""FeedbackStore: the interface of every store of judgments, without paths, byte offsets or line numbers.

`feedback_store.csv_store.store` keeps judgments in CSV files. Another store is a subclass that is registered in
`feedback_store.store_registry`; tests/extensions/memory_store.py is a small example.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType

import pandas as pd

from feedback_store import agreement
from feedback_store.csv_store.checks import check_names
from feedback_store.errors import FeedbackError
from feedback_store.records import Judgment
from feedback_store.retraction import current_rows
from feedback_store.tables import TABLES, Row, TableName

Position = NewType("Position", str)  # how far a reader has read; opaque, and valid in other processes
START = Position("")  # before the first row


@dataclass(frozen=True)
class Written:
    """What `FeedbackStore.write` did.

    Attributes:
        count: rows that were new.
        start, end: positions before and behind these rows; no other rows are between them.
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
        reset: rows that were read before are no longer stored, and `rows` are all rows.
    """

    rows: list[Row]
    position: Position
    reset: bool = False


class FeedbackStore(ABC):
    """Append judgments; read those that were not retracted. A store is safe to share between threads and processes.

    Attributes:
        concurrent_reads: `rows_since` does not wait for a write of this process.
    """

    concurrent_reads = False

    @staticmethod
    def open(location: str | Path, folder: Path | None = None) -> FeedbackStore:
        """Open the store at a location, e.g. a folder of CSV files; see `feedback_store.store_registry.open_store`."""
        from feedback_store.store_registry import open_store  # a circular import at the top

        return open_store(location, folder)

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the judgments are, for messages; without passwords."""

    @property
    @abstractmethod
    def late(self) -> FeedbackStore:
        """A separate store of answers that came too late: stored, but not counted."""

    @abstractmethod
    def write(self, judgments: Sequence[Judgment]) -> Written:
        """Store judgments durably, as `append` does, and return their positions.

        Raises:
            ChangedError: another program changed or removed stored rows; nothing was stored.
            FeedbackError: a judgment retracts one that does not exist, or writing failed; nothing was acknowledged, so send all again.
        """

    @abstractmethod
    def all_rows(self, table: TableName) -> pd.DataFrame:
        """Every row ever stored, checked; text columns as in `TABLES`, and an index that `where` understands.

        Raises:
            ChangedError: another program changed or removed stored rows.
            FeedbackError: a row is invalid; the message says where it is.
        """

    @abstractmethod
    def rows_since(self, position: Position) -> Added:
        """Rows stored behind a position, by any process.

        Raises:
            ChangedError: another program changed or removed stored rows.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, str]:
        """Hashes of everything stored, by name, for manifests. Equal contents have equal hashes."""

    @abstractmethod
    def is_empty(self) -> bool:
        """Whether there is no row.

        Raises:
            ChangedError: rows were stored, and they are missing.
        """

    def snapshot(self) -> FeedbackStore:
        """The rows that are stored now, to read only, while others store more; a store that has no snapshots returns itself."""
        return self

    def pieces(self, table: TableName) -> Iterator[pd.DataFrame]:
        """The same rows as `all_rows`, in order; in several frames where a store can read them in pieces."""
        yield self.all_rows(table)

    def copy_in(self, pieces: Mapping[TableName, Iterable[pd.DataFrame]]) -> int:
        """Store rows of another store as they are; the rows that are here have to be the first of them.

        Returns:
            how many were new.

        Raises:
            FeedbackError: this store has other rows, cannot keep these, or cannot be copied into.
        """
        raise FeedbackError(f"{self.location}: rows cannot be copied into this kind of store; use csv or postgresql")

    def append(self, judgments: Sequence[Judgment]) -> int:
        """Store judgments durably, except those whose id is stored already. Returns how many were new.

        A judgment that retracts an already retracted one is not stored.

        Raises:
            ChangedError: another program changed or removed stored rows; nothing was stored.
            FeedbackError: a judgment retracts one that does not exist, or writing failed; nothing was acknowledged, so send all again.
        """
        return self.write(judgments).count

    def current(self, table: TableName) -> pd.DataFrame:
        """Judgments of a table that were not retracted, in the order they were stored."""
        return current_rows(self.all_rows(table))

    def comparisons(self) -> pd.DataFrame:
        """Current judgments of two sides."""
        return self.current("pairwise")

    def per_image_judgments(self, question: str | None = None) -> pd.DataFrame:
        """Current label choices, verdicts and ratings, or those of one question."""
        frame = self.current("per_image")
        return frame if question is None else frame[frame["question"] == question]

    def quality(self, gold: Mapping[str, str] | None = None, fast_ms: int = agreement.FAST_MS) -> agreement.Quality:
        """Quality statistics of the current judgments.

        Args:
            gold: true class of each image whose class is known.
            fast_ms: answers below this number of milliseconds count as too fast.
        """
        return agreement.quality(self.comparisons(), self.per_image_judgments(), gold, fast_ms)

    def check(self, images: Collection[str] | None = None, classes: Collection[str] | None = None) -> int:
        """Read all rows and return their number.

        Args:
            images: ids that exist; None: not checked.
            classes: class names that exist; None: not checked.

        Raises:
            FeedbackError: the first invalid row, or a file that was changed.
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
        """Accept the present contents, here and in `late`: their owner changed them on purpose.

        Returns:
            locations of copies of the previous contents, if something had to be rewritten.

        Raises:
            FeedbackError: it cannot be read; nothing was changed.
        """
        return []

    def unverified(self) -> int:
        """Number of rows without a checksum; 0 in most stores."""
        return 0
