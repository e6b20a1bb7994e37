"""The replay buffer: the most recent transitions, sampled uniformly (Lin 1992; Mnih et al. 2015)."""

from __future__ import annotations

from dataclasses import fields

import torch

from pipeline.values.transitions import Transitions


class ReplayBuffer:
    """The last `capacity` transitions.

    Args:
        capacity: number of transitions that are kept; a new one takes the place of the oldest.
    """

    def __init__(self, capacity: int) -> None:
        whole, real, flag = (torch.zeros(capacity, dtype=kind) for kind in (torch.long, torch.float, torch.bool))
        self.columns = Transitions(whole, whole.clone(), real, whole.clone(), flag)
        self.capacity, self.added = capacity, 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, new: Transitions) -> None:
        """Keep new transitions, at most `capacity` at once."""
        places = torch.arange(self.added, self.added + len(new)) % self.capacity
        for column in fields(Transitions):
            getattr(self.columns, column.name)[places] = getattr(new, column.name)
        self.added += len(new)

    def sample(self, size: int, random: torch.Generator) -> Transitions:
        """`size` transitions, each drawn uniformly from all that are kept; one may be drawn twice."""
        places = torch.randint(len(self), (size,), generator=random)
        return Transitions(*(getattr(self.columns, column.name)[places] for column in fields(Transitions)))
