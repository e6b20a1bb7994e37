"""Comparisons: which of two labels fits an image better, and which of two images is the better example of a label."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from feedback_store.records import COMPARISON_CHOICES, NO_ANSWER, SIDES
from feedback_store.schemas.base import Subject
from feedback_store.schemas.pair import COMPARISON, IMAGE_COMPARISON
from pipeline.config import RewardConfig
from pipeline.data.gold_labels import GoldLabels
from pipeline.errors import UserError
from pipeline.kinds import probabilities as p
from pipeline.kinds.base import COMPARISON_SECONDS, JudgmentKind
from pipeline.kinds.columns import Columns
from pipeline.kinds.likelihood import Likelihood
from pipeline.kinds.probabilities import TIE, A, B
from pipeline.kinds.queries import Queries, draw_classes, spread_over
from pipeline.kinds.question_screen import Choice, Screen, ScreenSettings
from pipeline.kinds.simulation import Simulation

ANSWERS = tuple(choice for choice in COMPARISON_CHOICES if choice not in NO_ANSWER)


class DavidsonParameters(nn.Module):
    """log_nu: log of Davidson's tie parameter nu; -inf and not trained if there are no ties."""

    def __init__(self, ties: bool) -> None:
        super().__init__()
        self.ties = ties
        self.log_nu = nn.Parameter(torch.tensor(-1.0 if ties else -math.inf), requires_grad=ties)

    @property
    def nu(self) -> float:
        return float(self.log_nu.detach().exp())


class PairLikelihood(Likelihood):
    """Bradley-Terry, or Davidson's model if there are ties. Encoded as two rows and two classes (METHOD 1)."""

    name = "comparison"
    reward_axis = "reward of the first side minus the second's"

    def parameters(self, answer: Tensor, answers: int, config: RewardConfig) -> DavidsonParameters:
        return DavidsonParameters(bool((answer == TIE).any()))

    def log_p(self, parameters: DavidsonParameters, utilities: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        r_a, r_b = utilities[images[:, 0], classes[:, 0]], utilities[images[:, 1], classes[:, 1]]
        return p.davidson(r_a, r_b, parameters.log_nu) if parameters.ties else p.bradley_terry(r_a, r_b)

    def unreliable(self, parameters: DavidsonParameters, log_p: Tensor) -> Tensor:
        return log_p[:, [B, A, TIE] if parameters.ties else [B, A]]

    def correct_by_chance(self, answer: Tensor) -> float:
        """The order of the sides is random: half of the answers without a tie, or all ties."""
        counts = answer.bincount().double()
        return max(float(counts[:TIE].sum()) / 2, float(counts[TIE:].sum()))

    def canonical(self, rows: Tensor, classes: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
        sides = rows[:, :2] * 2**20 + classes[:, :2]  # both may be padded for kinds with more labels
        swap = sides[:, 0] > sides[:, 1]
        return sides.sort(dim=1).values, torch.where(swap & (answer < TIE), 1 - answer, answer)

    def describe(self, rows: Tensor, classes: Tensor, answer: int, names: Sequence[str], *, answers: int) -> str:
        a, b = names[int(classes[0])], names[int(classes[1])]
        if int(rows[0]) != int(rows[1]):
            return f"better example of {a} than another image? {('yes', 'no', 'tie')[answer]}"
        return f"{a} or {b}? {(a, b, 'tie')[answer]}"

    def histograms(
        self, rewards: Tensor, rows: Tensor, classes: Tensor, answer: Tensor, *, answers: int
    ) -> dict[str, Tensor]:
        difference = rewards[rows[:, 0], classes[:, 0]] - rewards[rows[:, 1], classes[:, 1]]
        names = {A: "first is better", B: "second is better", TIE: "tie"}
        return {name: difference[answer == number] for number, name in names.items()}


PAIR_LIKELIHOOD = PairLikelihood()


def simulate_sides(queries: Queries, simulation: Simulation) -> list[str]:
    """Choices between the first and the last image and label of each query."""
    query = np.arange(len(queries))
    utility = [
        simulation.gold.utility(queries.rows[:, side].numpy())[query, queries.labels[:, side].numpy()]
        for side in (0, -1)
    ]
    return simulation.choose_side(*utility).tolist()


class PairKind(JudgmentKind):
    """What both kinds of comparison share."""

    likelihood = PAIR_LIKELIHOOD
    actions = ("first", "second", "tie")

    def answers(self, settings: ScreenSettings) -> Collection[str]:
        return ANSWERS

    def usual_seconds(self, classes: int, images: int = 1, marks: int = 0) -> float:
        return COMPARISON_SECONDS

    def simulate(self, queries: Queries, simulation: Simulation) -> list[str]:
        return simulate_sides(queries, simulation)

    def encode(self, columns: Columns) -> tuple[Tensor, Tensor, Tensor]:
        answer = columns.answers({"a": A, "b": B, "tie": TIE})
        return columns.images("image_a", "image_b"), columns.classes("label_a", "label_b"), answer


class Comparison(PairKind):
    """Which of two labels fits an image better?"""

    name = "comparison"
    schema = COMPARISON
    style = "sides"

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        """Two distinct classes per query, drawn without replacement.

        A second random draw decides which is A, because the class drawn first is usually the more probable one.
        """
        rows = spread_over(pool, count, random)
        pair = draw_classes(rows, log_policy, 2, random)
        swap = torch.rand(len(rows), generator=random) < 0.5
        return Queries(self.name, rows[:, None], torch.where(swap[:, None], pair.flip(1), pair))

    def with_known_answer(self, queries: Queries, gold: GoldLabels, random: torch.Generator) -> Queries:
        """One side is the true class, the other one another class."""
        truth = torch.from_numpy(gold.labels)[queries.rows[:, 0]]
        label_a, label_b = queries.labels.unbind(1)
        wrong = torch.where(label_a == truth, label_b, label_a)
        first = torch.rand(len(queries), generator=random) < 0.5
        labels = torch.stack([torch.where(first, truth, wrong), torch.where(first, wrong, truth)], dim=1)
        return Queries(self.name, queries.rows, labels)

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        text = dict(zip(SIDES, subject.labels, strict=True))
        left, right = SIDES if shown_first == SIDES[0] else SIDES[::-1]
        choices = (
            Choice(left, text[left], "first"),
            Choice("tie", "Tie", "tie", secondary=True),
            Choice(right, text[right], "second"),
        )
        return Screen("Which label fits this image better?", subject.images, choices)

    def replay(self, queries: Queries, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
        label_a, label_b = queries.labels.numpy().T
        return np.where(labels == label_a, "a", np.where(labels == label_b, "b", "cant_tell")).tolist()


class ImageComparison(PairKind):
    """Which of two images is the better example of a label?"""

    name = "image_comparison"
    schema = IMAGE_COMPARISON
    images_compared = 2

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        """Two distinct images per label: classes equally often, images with probability proportional to pi(label | image).

        Both images are then plausible examples of the label. Under a uniform policy images are drawn uniformly.
        """
        if len(pool) < 2:
            raise UserError("collect.question: comparing two images needs at least two images to ask about")
        classes = log_policy.shape[1]
        labels = spread_over(torch.arange(classes), count, random)
        rows = torch.empty(count, 2, dtype=torch.long)
        for label in range(classes):
            asked = torch.nonzero(labels == label).flatten()
            pairs_per_round = len(pool) // 2
            drawn: list[Tensor] = []
            while sum(map(len, drawn)) < 2 * len(asked):
                # A weighted random order of the pool: neighbours form pairs of distinct images.
                noise = torch.rand(len(pool), generator=random, dtype=torch.float64).clamp(1e-300, 1 - 1e-16)
                order = (log_policy[pool, label].double() - torch.log(-torch.log(noise))).argsort(descending=True)
                drawn.append(pool[order[: 2 * min(pairs_per_round, len(asked))]])
            if drawn:
                rows[asked] = torch.cat(drawn)[: 2 * len(asked)].view(-1, 2)
        return Queries(self.name, rows, labels[:, None])

    def with_known_answer(self, queries: Queries, gold: GoldLabels, random: torch.Generator) -> Queries:
        """Images of two different classes, under the label of one of them."""
        truth, other = torch.from_numpy(gold.labels)[queries.rows].unbind(1)
        label = torch.where(torch.rand(len(queries), generator=random) < 0.5, truth, other)
        return Queries(self.name, queries.rows, label[:, None]).pick(truth != other)

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        sides = list(zip(SIDES, subject.images, strict=True))
        (left, left_image), (right, right_image) = sides if shown_first == SIDES[0] else sides[::-1]
        return Screen(
            f'Which image is the better example of "{subject.labels[0]}"?',
            (left_image, right_image),
            (Choice("tie", "Equally good", "tie", secondary=True),),
            (Choice(left, "Left", "first"), Choice(right, "Right", "second")),
        )
