"""Simulated answers from gold labels, with the errors of B-Pref (Lee et al. 2021; METHOD 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.data.gold_labels import GoldLabels


@dataclass(frozen=True)
class TeacherParameters:
    """Rationality and error rates of a simulated teacher.

    Attributes:
        beta: rationality; -1 always prefers the better side.
        eps_mistake: probability of the opposite answer.
        eps_skip: a comparison is not answered if both utilities are below this times the mean utility.
        eps_equal: a comparison is a tie if the utilities differ by less than this times the mean utility.
        miss_rate: probability that an exception on a page is not marked; None: eps_mistake.
        false_alarm_rate: probability that a right image on a page is marked; None: eps_mistake.
    """

    beta: float = -1.0
    eps_mistake: float = 0.0
    eps_skip: float = 0.0
    eps_equal: float = 0.0
    miss_rate: float | None = None
    false_alarm_rate: float | None = None


@dataclass(frozen=True, eq=False)
class Simulation:
    """Inputs of simulated answers besides the queries.

    Attributes:
        gold: true classes.
        parameters: of the teacher.
        mean_utility: m of METHOD 6, the mean gold utility of classes drawn from the reference.
        levels: number of rating levels.
        random: random stream of the answers.
    """

    gold: GoldLabels
    parameters: TeacherParameters
    mean_utility: float
    levels: int
    random: np.random.Generator

    def mistakes(self, count: int) -> np.ndarray:
        """[count] bool: which answers are mistakes."""
        return self.random.random(count) < self.parameters.eps_mistake

    def choose_side(self, utility_a: np.ndarray, utility_b: np.ndarray) -> np.ndarray:
        """Choices [Q] of `a`, `b`, `tie` or `cant_tell` for gold utilities [Q] of the two sides.

        A perfectly rational teacher chooses at random between equal utilities; B-Pref's code chooses the first side.
        """
        p, count = self.parameters, len(utility_a)
        difference = utility_a - utility_b
        if p.beta == -1:
            prob_a = np.where(difference == 0, 0.5, difference > 0)
        else:
            prob_a = 1 / (1 + np.exp(-p.beta * difference))
        prefers_a = self.random.random(count) < prob_a
        choice = np.where(prefers_a ^ self.mistakes(count), "a", "b").astype("<U9")
        choice[np.abs(difference) < p.eps_equal * self.mean_utility] = "tie"
        choice[np.maximum(utility_a, utility_b) < p.eps_skip * self.mean_utility] = "cant_tell"
        return choice
