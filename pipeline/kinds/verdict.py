"""Verdicts: is a label right for the image, yes or no?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from feedback_store.records import VERDICTS
from feedback_store.schemas.base import Subject
from feedback_store.schemas.per_image import VERDICT
from pipeline.config import RewardConfig
from pipeline.data.gold_labels import GoldLabels
from pipeline.kinds import probabilities as p
from pipeline.kinds.base import JudgmentKind
from pipeline.kinds.columns import Columns
from pipeline.kinds.likelihood import Likelihood, no_or_yes
from pipeline.kinds.probabilities import NO, YES
from pipeline.kinds.queries import Queries, draw_classes, spread_over
from pipeline.kinds.question_screen import Choice, Screen, ScreenSettings
from pipeline.kinds.simulation import Simulation


class Threshold(nn.Module):
    """tau: the utility from which a label counts as right."""

    def __init__(self) -> None:
        super().__init__()
        self.tau = nn.Parameter(torch.tensor(0.0))


class VerdictLikelihood(Likelihood):
    """P(yes) = sigma(r - tau) (METHOD 1)."""

    name = "verdict"

    def parameters(self, answer: Tensor, answers: int, config: RewardConfig) -> Threshold:
        return Threshold()

    def log_p(self, parameters: Threshold, utilities: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        return p.verdict(utilities[images[:, 0], classes[:, 0]], parameters.tau)

    def log_p_if_drawn(self, parameters: Any, log_p: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        return no_or_yes(log_p, images, classes)

    def unreliable(self, parameters: Threshold, log_p: Tensor) -> Tensor:
        return log_p.flip(-1)

    def describe(self, rows: Tensor, classes: Tensor, answer: int, names: Sequence[str], *, answers: int) -> str:
        return f"{names[int(classes[0])]}? {('no', 'yes')[answer]}"

    def histograms(
        self, rewards: Tensor, rows: Tensor, classes: Tensor, answer: Tensor, *, answers: int
    ) -> dict[str, Tensor]:
        asked = rewards[rows[:, 0], classes[:, 0]]
        return {"no": asked[answer == NO], "yes": asked[answer == YES]}

    def summary(self, parameters: Threshold) -> dict[str, Any]:
        return {"verdict_threshold": float(parameters.tau.detach())}


class Verdict(JudgmentKind):
    """Is a label right for the image?"""

    name = "verdict"
    schema = VERDICT
    likelihood = VerdictLikelihood()
    actions = VERDICTS

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        rows = spread_over(pool, count, random)
        return Queries(self.name, rows[:, None], draw_classes(rows, log_policy, 1, random))

    def with_known_answer(self, queries: Queries, gold: GoldLabels, random: torch.Generator) -> Queries:
        """On average half of the queries ask about the true class."""
        truth = torch.from_numpy(gold.labels)[queries.rows]
        right = torch.rand(len(queries), generator=random)[:, None] < 0.5
        return Queries(self.name, queries.rows, torch.where(right, truth, queries.labels))

    def choices(self, settings: ScreenSettings) -> tuple[Choice, ...]:
        return tuple(Choice(answer, answer.capitalize(), answer) for answer in VERDICTS)

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        return Screen(f'Is "{subject.labels[0]}" right for this image?', subject.images, self.choices(settings))

    def usual_seconds(self, classes: int, images: int = 1, marks: int = 0) -> float:
        """Krishna et al. 2016 (arXiv 1602.04506): yes or no to one label, at ordinary speed."""
        return 1.7

    def simulate(self, queries: Queries, simulation: Simulation) -> list[str]:
        """The right answer, except with probability `eps_mistake`."""
        right = simulation.gold.labels[queries.rows[:, 0].numpy()] == queries.labels[:, 0].numpy()
        return np.where(right ^ simulation.mistakes(len(queries)), "yes", "no").tolist()

    def encode(self, columns: Columns) -> tuple[Tensor, Tensor, Tensor]:
        return columns.images("image"), columns.classes("label"), columns.answers({"no": NO, "yes": YES})
