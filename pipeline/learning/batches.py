"""An endless sequence of minibatches whose position can be saved and resumed from."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.run.runtime import minibatches


class Batches:
    """Endless minibatches of `rows`: every row once before any comes again.

    Args:
        rows: [N] row numbers.
        size: rows of a batch, at most.
        random: stream the orders are drawn from.
    """

    def __init__(self, rows: Tensor, size: int, random: torch.Generator) -> None:
        self.rows, self.size, self.random = rows, size, random
        self.queue: list[Tensor] = []  # batches of the current pass that are still to come

    def next(self) -> Tensor:
        """The next batch [B]."""
        if not self.queue:
            self.queue = list(minibatches(self.rows, self.size, self.random))
        return self.queue.pop(0)
