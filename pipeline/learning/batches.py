"""An endless sequence of minibatches whose position can be saved and resumed from."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.run.runtime import minibatches


class Batches:
    """Endless minibatches of `rows`: every row once per pass.

    Args:
        rows: [N] row numbers.
        size: maximum number of rows per batch.
        random: stream of the orders.
    """

    def __init__(self, rows: Tensor, size: int, random: torch.Generator) -> None:
        self.rows, self.size, self.random = rows, size, random
        self.queue: list[Tensor] = []  # remaining batches of the current pass

    def next(self) -> Tensor:
        """The next batch [B]."""
        if not self.queue:
            self.queue = list(minibatches(self.rows, self.size, self.random))
        return self.queue.pop(0)
