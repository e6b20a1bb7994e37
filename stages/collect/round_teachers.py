"""Who answers in rounds without people: one object per value of `collect.teacher`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from feedback_store.records import Judgment
from pipeline.data.gold_labels import read_gold_labels
from pipeline.kinds import Queries
from pipeline.run.workspace import Workspace
from stages.collect.teacher_judgments import answerable, recorded_answers, simulated_answers
from stages.collect.teachers.replay import read_recorded


class RoundTeacher(Protocol):
    """Answers the questions of rounds."""

    pool: Tensor  # [P] row numbers of the images that can be asked about, ascending
    knows: np.ndarray  # [N] whether it can answer questions about an image

    def answers(self, queries: Queries, number: int, *, audit: bool = False) -> Iterator[Judgment]:
        """The answers of round `number`, in order."""


class SimulatedTeacher:
    """Answers by gold labels, as `collect.simulated` says."""

    def __init__(self, ws: Workspace) -> None:
        self.ws, self.gold = ws, read_gold_labels(ws.table, ws.classes)
        self.pool, self.knows = answerable(ws, self.gold), self.gold.known

    def answers(self, queries: Queries, number: int, *, audit: bool = False) -> Iterator[Judgment]:
        return simulated_answers(self.ws, self.gold, self.pool, queries, number=number, audit=audit)


class ReplayTeacher:
    """Answers by labels that people recorded; an image that is asked about has its first one."""

    def __init__(self, ws: Workspace) -> None:
        self.ws, self.recorded = ws, read_recorded(ws.config.collect.replay, ws.table, ws.classes)
        self.pool = torch.from_numpy(np.unique(self.recorded.rows))
        self.knows = np.isin(np.arange(len(ws.table)), self.recorded.rows)

    def answers(self, queries: Queries, number: int, *, audit: bool = False) -> Iterator[Judgment]:
        return recorded_answers(self.ws, self.recorded, queries, number=number, audit=audit)


ROUND_TEACHERS: dict[str, type[SimulatedTeacher] | type[ReplayTeacher]] = {
    "simulated": SimulatedTeacher,
    "replay": ReplayTeacher,
}
