"""Learned parameters of the likelihoods (ties, thresholds, cut points) and of annotators (docs/method.md 1)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from pipeline.config import RewardConfig
from pipeline.kinds import probabilities as p
from pipeline.kinds.comparison import PAIR_LIKELIHOOD, DavidsonParameters
from stages.reward.judgment_set import JudgmentSet


class AnnotatorParameters(nn.Module):
    """logit_eta: [annotators] logit of the probability of answering as the model."""

    def __init__(self, annotators: int, learned: bool) -> None:
        super().__init__()
        # Everyone starts at the prior's mean, 10 / 11.
        self.logit_eta = nn.Parameter(torch.full((annotators,), math.log(p.ETA_PRIOR)), requires_grad=learned)


class LikelihoodParameters(nn.Module):
    """Parameters of all likelihoods, and each annotator's reliability.

    Attributes:
        of: parameters of each likelihood, by its name.
        reliability: whether reliabilities are learned.
        assumed: whether label choices of a single annotator are taken to be mistaken as often as the prior expects.
        errors: error rates of annotators, by the likelihoods that have such and were answered.
    """

    def __init__(
        self,
        judgments: JudgmentSet,
        config: RewardConfig,
        *,
        mistakes: bool = False,
        assumed: bool = False,
        error_rates: nn.ModuleDict | None = None,
    ) -> None:
        """Initial values.

        Args:
            judgments: the training set; it determines whether ties occur.
            mistakes: learn reliabilities for one annotator as well. A network that learns with it would tell mistakes
                from its own errors by little; for a given policy the two are distinct.
            assumed: where no reliability is learned, `reward.reliability` still expects the prior's share of mistakes among
                label choices. A softmax alone takes each answer for what most people would say, and a head moves far for
                a wrong one.
            error_rates: `errors` that are known already and stay as they are (`error_rates.learn_error_rates`).
        """
        super().__init__()
        self.of = nn.ModuleDict(
            {
                likelihood.name: likelihood.parameters(judgments.answer[judgments.kind == number], answers, config)
                for number, (likelihood, answers) in enumerate(
                    zip(judgments.likelihoods, judgments.answers, strict=True)
                )
            }
        )
        with_errors = [likelihood for likelihood in judgments.likelihoods if likelihood.name in judgments.observed]
        self.errors = nn.ModuleDict({one.name: one.errors(judgments.observed[one.name]) for one in with_errors})
        if error_rates is not None:
            self.errors = copy.deepcopy(error_rates)
        self._likelihoods = {one.name: one for one in with_errors}
        annotators = len(judgments.annotators)
        self.reliability = mistakes or (config.reliability and annotators > 1)
        self.assumed = assumed and config.reliability
        self.annotators = AnnotatorParameters(annotators, self.reliability)

    @property
    def logit_eta(self) -> Tensor:
        """[annotators] logit of `eta`."""
        return self.annotators.logit_eta

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As torch does; checkpoints of earlier versions have `tau`, not `of.verdict.tau`."""
        own = {name.rpartition(".")[2]: name for name in reversed(self.state_dict())}
        named = {name if "." in name else own.get(name, name): value for name, value in state_dict.items()}
        return super().load_state_dict(named, *args, **kwargs)

    @property
    def eta(self) -> Tensor:
        """[annotators] probability of answering as the model."""
        return torch.sigmoid(self.logit_eta)

    @property
    def nu(self) -> float:
        """Davidson's nu, the propensity of ties in comparisons; 0 without ties."""
        pairs = self.of[PAIR_LIKELIHOOD.name]
        assert isinstance(pairs, DavidsonParameters)
        return pairs.nu

    def log_prior(self) -> Tensor:
        """log density of Beta(10, 1) at every annotator's eta, if learned, and of all error rates, up to a constant."""
        total = (p.ETA_PRIOR - 1) * logsigmoid(self.logit_eta).sum() if self.reliability else torch.zeros(())
        for name, errors in self.errors.items():
            total = total + self._likelihoods[name].log_prior(errors)
        return total

    def error_rates(self) -> dict[str, Tensor]:
        """[annotators] of each rate that was learned, by name."""
        rates: dict[str, Tensor] = {}
        for name, errors in self.errors.items():
            rates |= self._likelihoods[name].error_rates(errors)
        return rates

    def log_p(self, number: int, utilities: Tensor, images: Tensor, judgments: JudgmentSet) -> Tensor:
        """log P of every possible answer, [M, K], for judgments of one likelihood.

        Args:
            number: index of the likelihood.
            utilities: [U, C] of `images`.
            images: [U] row numbers, ascending.
        """
        log_p = self.without_errors(number, utilities, images, judgments)
        likelihood = judgments.likelihoods[number]
        if likelihood.name in self.errors:
            who = judgments.annotator.to(log_p.device)
            return likelihood.with_errors(self.errors[likelihood.name], log_p, who)
        return self._with_mistakes(log_p, likelihood.unreliable(self.of[likelihood.name], log_p), number, judgments)

    def log_p_of_answers(self, number: int, utilities: Tensor, images: Tensor, judgments: JudgmentSet) -> Tensor:
        """log P of the answers that were given, [M], with less memory than `log_p` needs; arguments as there."""
        if judgments.likelihoods[number].name in self.errors:
            log_p = self.log_p(number, utilities, images, judgments)
            return log_p.gather(-1, judgments.answer.to(log_p.device)[:, None])[:, 0]
        log_p = self.without_errors(number, utilities, images, judgments)
        otherwise = judgments.likelihoods[number].unreliable(self.of[judgments.likelihoods[number].name], log_p)
        answer = judgments.answer.to(log_p.device)[:, None]
        otherwise = otherwise.expand_as(log_p).gather(-1, answer)
        return self._with_mistakes(log_p.gather(-1, answer), otherwise, number, judgments)[:, 0]

    def without_errors(self, number: int, utilities: Tensor, images: Tensor, judgments: JudgmentSet) -> Tensor:
        """log P of every answer [M, K] if nobody makes mistakes; arguments as of `log_p`."""
        likelihood, device = judgments.likelihoods[number], self.logit_eta.device
        utilities = utilities.to(device)  # those of held-out images come from the CPU
        at = torch.searchsorted(images, judgments.rows).to(device)
        return likelihood.log_p(self.of[likelihood.name], utilities, at, judgments.classes.to(device))

    def _with_mistakes(self, log_p: Tensor, otherwise: Tensor, number: int, judgments: JudgmentSet) -> Tensor:
        """log_p [M, n] with `otherwise` [M, n] for the share of answers in which each annotator is unreliable."""
        if not self.reliability and not (self.assumed and judgments.likelihoods[number].answers_are_classes):
            return log_p
        logit = self.logit_eta[judgments.annotator.to(self.logit_eta.device)]
        return p.unreliable(log_p, logsigmoid(logit), logsigmoid(-logit), otherwise)


def log_likelihood(
    utilities: Tensor,
    images: Tensor,
    judgments: JudgmentSet,
    parameters: LikelihoodParameters,
    *,
    smoothing: float = 0.0,
) -> Tensor:
    """log P of every judgment, [len(judgments)], grouped by likelihood.

    Args:
        utilities: [U, C] of `images`.
        images: [U] row numbers, ascending.
        smoothing: label smoothing of label choices: weight of the uniform distribution over classes.
    """
    parts = []
    for number, likelihood, own in judgments.by_likelihood():
        if smoothing and likelihood.answers_are_classes:
            log_p = parameters.log_p(number, utilities, images, own)
            chosen = log_p.gather(-1, own.answer.to(log_p.device)[:, None])[:, 0]
            parts.append((1 - smoothing) * chosen + smoothing * log_p.mean(-1))
        else:
            parts.append(parameters.log_p_of_answers(number, utilities, images, own))
    return torch.cat(parts)


def mean_nll(utilities: Tensor, judgments: JudgmentSet, parameters: LikelihoodParameters) -> float:
    """Mean negative log-likelihood of judgments, in nats; utilities [U, C] of `judgments.images`."""
    with torch.no_grad():
        return float(-log_likelihood(utilities, judgments.images, judgments, parameters).mean())
