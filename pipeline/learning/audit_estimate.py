"""A policy's accuracy from audit answers, corrected for the annotators' own mistakes (docs/audit.md).

Pure functions of answers: no image, no model and no gold label is needed. The posterior is summed over a grid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul

import numpy as np

# Of the annotators' error rate, a Beta distribution: 9 % on average, 5 % in the median, in a third of cases above 10 %.
# The interval was checked with it for 0, 5 and 10 % (docs/audit.md).
PRIOR_ERROR = (0.5, 5.0)
LEVELS = (0.025, 0.5, 0.975)  # an equal-tailed 95 % interval, and the median
ACCURACY_CELLS, ERROR_CELLS = 1000, 100
COPYING = (0.1, 0.3, 0.5, 0.7, 0.9)  # equally probable: how often somebody who is asked again repeats an answer unseen

People = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Audited:
    """One audited image.

    Attributes:
        predicted: the policy's class number.
        people: of each person, the class numbers they answered, in order; at least one answer.
    """

    predicted: int
    people: People


@dataclass(frozen=True)
class AccuracyEstimate:
    """What audit answers say about a policy.

    Attributes:
        accuracy, low, high: median and 95 % interval of the accuracy.
        error, error_low, error_high: the same of the share of answers that are mistakes.
        images, answers: audited images, and the answers about them.
    """

    accuracy: float
    low: float
    high: float
    error: float
    error_low: float
    error_high: float
    images: int
    answers: int

    @property
    def width(self) -> float:
        return self.high - self.low


def estimate_accuracy(
    audited: Sequence[Audited], classes: int, *, gold: tuple[int, int] = (0, 0), times: float = 1.0
) -> AccuracyEstimate:
    """The posterior of a policy's accuracy under a uniform prior, with the annotators' error rate integrated out.

    Args:
        gold: right answers and all answers about images whose class is known, which tell the error rate alone.
        times: count every audited image so often, to forecast what more of them would tell.

    Raises:
        ValueError: no audited image, or fewer than two classes.
    """
    if not audited or classes < 2:
        raise ValueError("an estimate needs an audited image and two classes")
    accuracy = (np.arange(ACCURACY_CELLS) + 0.5) / ACCURACY_CELLS
    root = (np.arange(ERROR_CELLS) + 0.5) / ERROR_CELLS
    largest = (classes - 1) / classes  # from there on, answers are no better than chance
    error = largest * root**2  # cells are narrower where errors are rarer
    again = any(len(own) > 1 for one in audited for own in one.people)
    nodes = accuracy[:, None, None], error[:, None], np.array(COPYING if again else (0.0,))
    alpha, beta = PRIOR_ERROR
    right, asked = gold
    of_error = (alpha - 1 + asked - right) * np.log(error) + (beta - 1 + right) * np.log1p(-error) + np.log(root)
    log_posterior = of_error[:, None]  # axes: accuracy, error, copying
    for people, count in Counter(map(_pattern, audited)).items():
        log_posterior = log_posterior + count * times * np.log(_likelihood(people, classes, *nodes))
    posterior = np.exp(log_posterior - log_posterior.max()).sum(-1)
    low, median, high = quantiles(posterior.sum(1), np.linspace(0, 1, ACCURACY_CELLS + 1))
    edges = largest * np.linspace(0, 1, ERROR_CELLS + 1) ** 2
    error_low, error_median, error_high = quantiles(posterior.sum(0), edges)
    answers = sum(len(own) for one in audited for own in one.people)
    return AccuracyEstimate(median, low, high, error_median, error_low, error_high, len(audited), answers)


def quantiles(weights: np.ndarray, edges: np.ndarray, levels: Sequence[float] = LEVELS) -> list[float]:
    """Quantiles of a distribution that is uniform within each cell.

    Args:
        weights: [K] of the cells, not normalised.
        edges: [K + 1] of the cells.
    """
    cumulative = np.concatenate([[0.0], np.cumsum(weights)])
    return [float(value) for value in np.interp(levels, cumulative / cumulative[-1], edges)]


def _pattern(audited: Audited) -> People:
    """Answers with classes numbered by occurrence, 0 being the predicted one: equal patterns are equally probable."""
    number = {audited.predicted: 0}
    return tuple(tuple(number.setdefault(answer, len(number)) for answer in own) for own in audited.people)


def _likelihood(
    people: People, classes: int, accuracy: np.ndarray, error: np.ndarray, copying: np.ndarray
) -> np.ndarray:
    """P(answers about an image), summed over its true class.

    The truth is class 0 with probability `accuracy`, and otherwise any other class equally often. A mistake is any wrong
    class equally often. People err independently. Somebody who is asked again repeats their answer unseen with
    probability `copying`, since their mistakes may be of a lasting kind.
    """

    def if_true(truth: int) -> np.ndarray:
        factors = []
        for own in people:
            for place, answer in enumerate(own):
                fresh = 1 - error if answer == truth else error / (classes - 1)
                if place:
                    fresh = copying * (answer == own[place - 1]) + (1 - copying) * fresh
                factors.append(fresh)
        return reduce(mul, factors)

    answered = {answer for own in people for answer in own} - {0}
    unseen = classes - 1 - len(answered)  # other classes that nobody answered
    otherwise = sum(if_true(truth) for truth in answered) + (unseen * if_true(-1) if unseen else 0.0)
    return accuracy * if_true(0) + (1 - accuracy) / (classes - 1) * otherwise
