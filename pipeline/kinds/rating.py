"""Ratings: how well does a label fit the image, 1 to K?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from feedback_store.schemas.base import Subject
from feedback_store.schemas.per_image import RATING
from pipeline.config import RewardConfig
from pipeline.kinds import probabilities as p
from pipeline.kinds.base import JudgmentKind
from pipeline.kinds.columns import Columns
from pipeline.kinds.likelihood import Likelihood, no_or_yes
from pipeline.kinds.queries import Queries, draw_classes, spread_over
from pipeline.kinds.question_screen import Choice, KeyHelp, Screen, ScreenSettings
from pipeline.kinds.simulation import Simulation


class RatingParameters(nn.Module):
    """Cut points of the ordinal model, or offset, gain and standard deviation of `reward.rating: scalar`."""

    def __init__(self, levels: int, scalar: bool) -> None:
        super().__init__()
        self.levels, self.scalar = levels, scalar
        self.first_cut = nn.Parameter(torch.tensor(-(levels - 2) / 2.0))
        self.gaps = nn.Parameter(torch.full((max(0, levels - 2),), math.log(math.e - 1)))
        self.offset, self.log_gain = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(-1.0))
        self.log_sigma = nn.Parameter(torch.tensor(-0.5))

    @property
    def cuts(self) -> Tensor:
        """[K - 1] ascending cut points."""
        return p.ascending(self.first_cut, self.gaps)


class RatingLikelihood(Likelihood):
    """The ordinal logit (McCullagh 1980), or squared error (METHOD 1)."""

    name = "rating"

    def parameters(self, answer: Tensor, answers: int, config: RewardConfig) -> RatingParameters:
        return RatingParameters(answers, config.rating == "scalar")

    def log_p(self, parameters: RatingParameters, utilities: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        r = utilities[images[:, 0], classes[:, 0]]
        if parameters.scalar:
            offset, log_gain, log_sigma = parameters.offset, parameters.log_gain, parameters.log_sigma
            return p.gaussian(r, parameters.levels, offset=offset, log_gain=log_gain, log_sigma=log_sigma)
        return p.ordinal(r, parameters.cuts)

    def log_p_if_drawn(self, parameters: Any, log_p: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        return no_or_yes(log_p, images, classes)

    def unreliable(self, parameters: RatingParameters, log_p: Tensor) -> Tensor:
        if parameters.scalar:
            return torch.full_like(log_p, -math.log(2))  # a density on -1 to 1
        return super().unreliable(parameters, log_p)

    def describe(self, rows: Tensor, classes: Tensor, answer: int, names: Sequence[str], *, answers: int) -> str:
        return f"{names[int(classes[0])]}, 1 to {answers}? {answer + 1}"

    def histograms(
        self, rewards: Tensor, rows: Tensor, classes: Tensor, answer: Tensor, *, answers: int
    ) -> dict[str, Tensor]:
        asked = rewards[rows[:, 0], classes[:, 0]]
        return {f"{level + 1}": asked[answer == level] for level in range(answers)}

    def summary(self, parameters: RatingParameters) -> dict[str, Any]:
        return {"cuts": parameters.cuts.detach().tolist()}


class Rating(JudgmentKind):
    """How well does a label fit the image?"""

    name = "rating"
    schema = RATING
    likelihood = RatingLikelihood()
    style = "levels"

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        rows = spread_over(pool, count, random)
        return Queries(self.name, rows[:, None], draw_classes(rows, log_policy, 1, random))

    def choices(self, settings: ScreenSettings) -> tuple[Choice, ...]:
        text = {1: "not at all", settings.levels: "perfectly"}
        levels = range(1, settings.levels + 1)
        return tuple(Choice(str(level), text.get(level, ""), number=level) for level in levels)

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        return Screen(f'How well does "{subject.labels[0]}" fit this image?', subject.images, self.choices(settings))

    def help(self, settings: ScreenSettings) -> list[KeyHelp]:
        levels = settings.levels
        return [KeyHelp(("1", "…", str(levels)), f"1 fits not at all, {levels} fits perfectly")]

    def usual_seconds(self, classes: int, images: int = 1, marks: int = 0) -> float:
        """As long as naming one of as many classes as there are levels by default: five."""
        return 2.7

    def simulate(self, queries: Queries, simulation: Simulation) -> list[str]:
        """The highest level for the true class and 1 for others; with probability `eps_mistake` another level."""
        right = simulation.gold.labels[queries.rows[:, 0].numpy()] == queries.labels[:, 0].numpy()
        mistaken, levels = simulation.mistakes(len(queries)), simulation.levels
        level = np.where(right, levels, 1)
        other = (level - 1 + simulation.random.integers(1, levels, len(queries))) % levels + 1
        return [str(number) for number in np.where(mistaken, other, level)]

    def encode(self, columns: Columns) -> tuple[Tensor, Tensor, Tensor]:
        levels = {str(level): level - 1 for level in range(1, 100)}
        return columns.images("image"), columns.classes("label"), columns.answers(levels)
