"""A teacher that knows the gold labels and answers as B-Pref's simulated humans do (Lee et al. 2021; METHOD 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.config.teachers import SimulatedConfig
from pipeline.data.gold_labels import GoldLabels
from stages.collect.queries import Queries


@dataclass(frozen=True)
class Parameters:
    """Rationality beta (-1: always the better one) and the three error rates of B-Pref."""

    beta: float = -1.0
    eps_mistake: float = 0.0
    eps_skip: float = 0.0
    eps_equal: float = 0.0


NAMED = {
    "oracle": Parameters(),
    "mistake": Parameters(eps_mistake=0.1),
    "noisy": Parameters(beta=1.0),
    "skip": Parameters(eps_skip=0.1),
    "equal": Parameters(eps_equal=0.1),
    "custom": Parameters(),
}


def parameters(config: SimulatedConfig) -> Parameters:
    """The named teacher's parameters, with those given in the configuration put in their place."""
    given = {name: value for name, value in config.model_dump(exclude={"name"}).items() if value is not None}
    return Parameters(**{**NAMED[config.name].__dict__, **given})


def choose(
    utility_a: np.ndarray, utility_b: np.ndarray, mean: float, p: Parameters, random: np.random.Generator
) -> np.ndarray:
    """Choices [Q] of `a`, `b`, `tie` or `cant_tell` for gold utilities [Q] of the two sides.

    Args:
        mean: m, the mean gold utility of classes drawn from the current policy, which eps_skip and eps_equal are
            fractions of.

    Where a perfectly rational teacher sees no difference it flips a coin; B-Pref's code counts a win for the first.
    """
    count = len(utility_a)
    difference = utility_a - utility_b
    if p.beta == -1:
        prob_a = np.where(difference == 0, 0.5, difference > 0)
    else:
        prob_a = 1 / (1 + np.exp(-p.beta * difference))
    prefers_a = random.random(count) < prob_a
    mistaken = random.random(count) < p.eps_mistake
    choice = np.where(prefers_a ^ mistaken, "a", "b").astype("<U9")
    choice[np.abs(difference) < p.eps_equal * mean] = "tie"
    choice[np.maximum(utility_a, utility_b) < p.eps_skip * mean] = "cant_tell"
    return choice


@dataclass(frozen=True, eq=False)
class SimulatedTeacher:
    """Answers from gold labels.

    Attributes:
        mean_utility: m of METHOD 6.
    """

    gold: GoldLabels
    p: Parameters
    mean_utility: float
    name: str

    def answer(self, queries: Queries, rating_levels: int, random: np.random.Generator) -> list[str]:
        """An answer to each query, as it is stored.

        A verdict is right but for eps_mistake; a rating is the highest for the true class and 1 for any other, or by
        mistake any other level.
        """
        rows, label = queries.rows_a.numpy(), queries.label_a.numpy()
        if queries.kind == "label":
            return [self.gold.classes[number] for number in self.label(rows, random)]
        if queries.kind in ("comparison", "image_comparison"):
            utility_a, utility_b = (
                self.gold.utility(of.numpy())[np.arange(len(queries)), labels.numpy()]
                for of, labels in ((queries.rows_a, queries.label_a), (queries.rows_b, queries.label_b))
            )
            return choose(utility_a, utility_b, self.mean_utility, self.p, random).tolist()
        right = self.gold.labels[rows] == label
        mistaken = random.random(len(queries)) < self.p.eps_mistake
        if queries.kind == "verdict":
            return np.where(right ^ mistaken, "yes", "no").tolist()
        level = np.where(right, rating_levels, 1)
        other = (level - 1 + random.integers(1, rating_levels, len(queries))) % rating_levels + 1
        return [str(number) for number in np.where(mistaken, other, level)]

    def label(self, rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Classes [Q]: the true one, or with probability eps_mistake another."""
        classes = len(self.gold.classes)
        others = (self.gold.labels[rows] + random.integers(1, classes, len(rows))) % classes
        return np.where(random.random(len(rows)) < self.p.eps_mistake, others, self.gold.labels[rows])
