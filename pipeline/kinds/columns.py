"""Columns of stored judgments as tensors, for the likelihood of their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd


class Columns:
    """Columns of stored rows as tensors.

    Args:
        frame: rows of one kind; every cell is text.
        row_numbers: converts a column of image ids into row numbers [M].
        class_numbers: converts a column (its name, and class names with the index of `frame`) into class numbers [M].
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        row_numbers: Callable[[pd.Series], Tensor],
        class_numbers: Callable[[str, pd.Series], Tensor],
    ) -> None:
        self.frame, self._row_numbers, self._class_numbers = frame, row_numbers, class_numbers

    def images(self, *columns: str) -> Tensor:
        """[M, len(columns)] row numbers."""
        return torch.stack([self._row_numbers(self.frame[column]) for column in columns], dim=1)

    def classes(self, *columns: str) -> Tensor:
        """[M, len(columns)] class numbers.

        Raises:
            UserError: a class that does not exist.
        """
        return torch.stack([self._class_numbers(column, self.frame[column]) for column in columns], dim=1)

    def class_lists(self, column: str, names: Callable[[str], Sequence[str]]) -> Tensor:
        """[M, L] class numbers of cells with L labels each; `names` splits a cell.

        Raises:
            UserError: a class that does not exist.
        """
        split = self.frame[column].map(lambda cell: tuple(names(cell)))
        width = int(split.map(len).max()) if len(split) else 0
        each = [split.map(lambda labels, n=n: labels[n] if n < len(labels) else "") for n in range(width)]
        parts = [self._class_numbers(column, labels) for labels in each]
        return torch.stack(parts, 1) if parts else torch.empty(len(split), 0, dtype=torch.long)

    def answers(self, numbers: dict[str, int]) -> Tensor:
        """[M] answers as numbers; numbers: the number of each valid answer."""
        given = self.frame["choice" if "choice" in self.frame else "answer"]
        return torch.from_numpy(np.array(given.map(numbers), dtype=np.int64))
