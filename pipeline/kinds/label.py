"""Label choices: which class is the image?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from feedback_store.schemas.base import Subject
from feedback_store.schemas.per_image import LABEL
from pipeline.kinds import probabilities as p
from pipeline.kinds.base import JudgmentKind
from pipeline.kinds.columns import Columns
from pipeline.kinds.likelihood import Likelihood
from pipeline.kinds.queries import Queries, spread_over
from pipeline.kinds.question_screen import Choice, KeyHelp, Screen, ScreenSettings
from pipeline.kinds.simulation import Simulation

# Seconds of naming one of C classes, a power of C through the medians of CIFAR-10N and CIFAR-100N (Wei et al. 2022).
NAMING_SECONDS = 1.0
NAMING_GROWTH = 0.62
MANY_CLASSES = 10  # with more classes, the page has a search by name


class LabelLikelihood(Likelihood):
    """The choice model of Luce (1959): a softmax of the utilities of all classes."""

    name = "label"
    reward_axis = "reward"
    answers_are_classes = True

    def count_answers(self, answer: Tensor, classes: int) -> int:
        return classes

    def log_p(self, parameters: Any, utilities: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        return p.label_choice(utilities[images[:, 0]])

    def describe(self, rows: Tensor, classes: Tensor, answer: int, names: Sequence[str], *, answers: int) -> str:
        return f"which class? {names[answer]}"

    def histograms(
        self, rewards: Tensor, rows: Tensor, classes: Tensor, answer: Tensor, *, answers: int
    ) -> dict[str, Tensor]:
        of_image = rewards[rows[:, 0]]
        difference = (of_image - of_image.gather(1, answer[:, None])).flatten()
        others = (torch.arange(of_image.shape[1])[None] != answer[:, None]).flatten()
        return {"other classes minus the chosen class": difference[others]}


class Label(JudgmentKind):
    """Which class is the image?"""

    name = "label"
    schema = LABEL
    likelihood = LabelLikelihood()

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        return self.query_each(spread_over(pool, count, random))

    def query_each(self, rows: Tensor) -> Queries:
        """One query about each row [Q]."""
        return Queries(self.name, rows[:, None], torch.empty(len(rows), 0, dtype=torch.long))

    def choices(self, settings: ScreenSettings) -> tuple[Choice, ...]:
        return tuple(Choice(name, name, number=number) for number, name in enumerate(settings.classes))

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        return Screen("Which class is this image?", subject.images, self.choices(settings))

    def help(self, settings: ScreenSettings) -> list[KeyHelp]:
        lines = [KeyHelp(("0", "…", str(len(settings.classes) - 1)), "the class of that number")]
        if len(settings.classes) > MANY_CLASSES:
            lines.append(KeyHelp(("/",), "search a class by name; Enter picks the first, Escape ends the search"))
        return lines

    def usual_seconds(self, classes: int, images: int = 1, marks: int = 0) -> float:
        """CIFAR-10N's and CIFAR-100N's annotators took 4.2 s for one of 10 classes, and 17.6 s for one of 100."""
        return NAMING_SECONDS * classes**NAMING_GROWTH

    def simulate(self, queries: Queries, simulation: Simulation) -> list[str]:
        """The true class; with probability `eps_mistake` another one."""
        truth = simulation.gold.labels[queries.rows[:, 0].numpy()]
        classes = simulation.gold.classes
        others = (truth + simulation.random.integers(1, len(classes), len(queries))) % len(classes)
        return [classes[n] for n in np.where(simulation.mistakes(len(queries)), others, truth)]

    def replay(self, queries: Queries, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
        return [classes[number] for number in labels]

    def encode(self, columns: Columns) -> tuple[Tensor, Tensor, Tensor]:
        rows = columns.images("image")
        return rows, torch.zeros_like(rows), columns.classes("answer")[:, 0]
