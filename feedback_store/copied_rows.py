"""Which rows of a copied table are new: the rows that the target has must be the first rows of the source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import pandas as pd

from feedback_store.csv_store.line import lines_of
from feedback_store.errors import FeedbackError


class CopiedRows:
    """Args:
    columns: of the table.
    stored: the rows that the target has, in pieces.
    where: the target, for messages.
    """

    def __init__(self, columns: Sequence[str], stored: Iterable[pd.DataFrame], where: str) -> None:
        self.columns, self.where = columns, where
        self.count, self._digest = 0, hashlib.sha256()
        for frame in stored:
            self._digest.update(lines_of(frame, columns))
            self.count += len(frame)

    def new(self, frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """The rows of the source behind those that the target has, in pieces.

        Raises:
            FeedbackError: the target has other rows, or more.
        """
        left, digest = self.count, hashlib.sha256()
        for frame in frames:
            digest.update(lines_of(frame.iloc[:left], self.columns))
            before, left = left, max(0, left - len(frame))
            if before and not left:
                self._must_be_same(digest.hexdigest())
            if len(frame) > before:
                yield frame.iloc[before:]
        if left:
            self._must_be_same("")

    def _must_be_same(self, digest: str) -> None:
        if digest != self._digest.hexdigest():
            raise FeedbackError(
                f"{self.where}: its {self.count} rows are not the first rows of what is copied; copy into an empty folder or "
                "collection. Nothing was copied"
            )
