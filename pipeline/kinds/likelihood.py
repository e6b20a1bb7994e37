"""The interface of likelihoods of answers under utilities r(x, a), with their learned parameters (METHOD 1)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pipeline.config import RewardConfig


class Likelihood(ABC):
    """log P of every possible answer; answers are numbered from 0.

    Shapes: M judgments of this likelihood, each about I images and L labels, with K possible answers.

    Attributes:
        name: e.g. `comparison`; kinds that share a likelihood share its parameters.
        reward_axis: what the card's histogram of rewards shows.
        answers_are_classes: whether an answer's number is that of a class; `reward.label_smoothing` applies then.
        has_errors: whether people have error rates of their own here (`errors`), in place of a reliability.
    """

    name: ClassVar[str]
    reward_axis: ClassVar[str] = "reward of the label asked about"
    answers_are_classes: ClassVar[bool] = False
    has_errors: ClassVar[bool] = False

    def count_answers(self, answer: Tensor, classes: int) -> int:
        """K, from the stored answers [M] and the number of classes."""
        return max(2, int(answer.max()) + 1 if len(answer) else 2)

    def parameters(self, answer: Tensor, answers: int, config: RewardConfig) -> nn.Module:
        """Initial parameters; a module without parameters if there are none.

        Args:
            answer: [M] answers in the training set.
            answers: K.
        """
        return nn.Module()

    @abstractmethod
    def log_p(self, parameters: Any, utilities: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        """log P of every answer, [M, K].

        Args:
            utilities: [U, C] of images.
            images: [M, I] positions in these.
            classes: [M, L] class numbers.
        """

    def log_p_if_drawn(self, parameters: Any, log_p: Tensor, images: Tensor, classes: Tensor) -> Tensor:
        """log P of every answer [M, K] if an image is of class a with probability exp(log_p[image, a]).

        These are the utilities of kinds whose answers depend on differences between classes; others override it.

        Args:
            log_p: [U, C] of images; images, classes: as for `log_p`.
        """
        return self.log_p(parameters, log_p, images, classes)

    def unreliable(self, parameters: Any, log_p: Tensor) -> Tensor:
        """log Q [M, K] or [K]: answers of an unreliable annotator; uniform unless overridden."""
        return log_p.new_full((log_p.shape[-1],), -math.log(log_p.shape[-1]))

    def errors(self, observed: Tensor) -> nn.Module:
        """Initial error rates of each annotator.

        Args:
            observed: [annotators, ...] counts from answers whose truth is known, as the kind's `observed_errors` counts them.
        """
        raise NotImplementedError

    def with_errors(self, errors: Any, log_p: Tensor, annotator: Tensor) -> Tensor:
        """log P of every answer [M, K] of people with error rates, from that of people without.

        Args:
            annotator: [M] numbers.
        """
        raise NotImplementedError

    def log_prior(self, errors: Any) -> Tensor:
        """log density of the error rates, up to a constant, with what was observed of them."""
        raise NotImplementedError

    def error_rates(self, errors: Any) -> dict[str, Tensor]:
        """[annotators] of each rate, by its name on the card."""
        return {}

    def correct_by_chance(self, answer: Tensor) -> float:
        """Number of answers [M] that equal the most common answer."""
        return float(answer.bincount().double().max())

    def canonical(self, rows: Tensor, classes: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
        """The question as numbers [M, n], independent of the order of the sides, and the answers [M] in that order."""
        return torch.cat([rows, classes], dim=1), answer

    @abstractmethod
    def describe(self, rows: Tensor, classes: Tensor, answer: int, names: Sequence[str], *, answers: int) -> str:
        """One judgment as a sentence for the card.

        Args:
            rows: [I] row numbers.
            classes: [L] class numbers.
            names: of all classes.
            answers: K.
        """

    @abstractmethod
    def histograms(
        self, rewards: Tensor, rows: Tensor, classes: Tensor, answer: Tensor, *, answers: int
    ) -> dict[str, Tensor]:
        """Rewards of the judged labels, by the answer's name in the card's histogram.

        Args:
            rewards: [N, C] of all images.
            rows: [M, I] row numbers.
            classes: [M, L] class numbers.
            answer: [M].
            answers: K.
        """

    def summary(self, parameters: Any) -> dict[str, Any]:
        """Learned parameters as the card shows them."""
        return {}


def no_or_yes(log_p: Tensor, images: Tensor, classes: Tensor) -> Tensor:
    """log P [M, 2] of the lowest and of the highest answer about one label, whose probability is exp(log_p)."""
    right = log_p[images[:, 0], classes[:, 0]].clamp_max(-1e-6)
    return torch.stack([torch.log(-torch.expm1(right)), right], dim=-1)
