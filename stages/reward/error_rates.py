"""Error rates of people on pages, learned from predictions that were not trained on their answers (docs/asking.md).

A network that is fitted together with the rates explains a part of the misses by its own doubts, and another part by
believing them. Predictions of images that were left out do neither, once they are calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.config import RewardConfig
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters

STEPS = 100  # of L-BFGS
# Prior standard deviations of the calibration around none, so that few answers do not make predictions certain.
SHARPNESS_SD, OFFSET_SD = 0.5, 1.0


class Calibration(nn.Module):
    """log-probabilities of answers by a line: s log P + b, normalised (vector scaling, Guo et al. 2017, with one scale).

    The offset is there because the page an image is on tells something about its class, too: a policy put it there that may
    know more than the predictions.
    """

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(answers))

    def forward(self, log_p: Tensor) -> Tensor:
        """[M, K] to [M, K]."""
        return torch.log_softmax(log_p * self.log_sharpness.exp() + self.offset, -1)

    def log_prior(self) -> Tensor:
        return -((self.log_sharpness / SHARPNESS_SD).square() + (self.offset / OFFSET_SD).square().sum()) / 2


def learn_error_rates(tested: JudgmentSet, utilities: Sequence[Tensor], config: RewardConfig) -> nn.ModuleDict | None:
    """Error rates of every annotator, fixed; by likelihood, as `LikelihoodParameters.errors` has them. None without any.

    They are those of the highest posterior, together with the calibration of the predictions.

    Args:
        tested: judgments; those of likelihoods without error rates are ignored.
        utilities: [U, C] of `tested.images` by each member, none of which was trained on these images.
    """
    log_p = torch.log_softmax(torch.stack(list(utilities)).double(), -1)
    log_mean = torch.logsumexp(log_p, 0)  # up to a constant, which no likelihood of pages depends on
    parameters = LikelihoodParameters(tested, config).double()
    answered = [
        (number, own) for number, likelihood, own in tested.by_likelihood() if likelihood.name in parameters.errors
    ]
    if not answered:
        return None
    with torch.no_grad():
        predicted = [parameters.without_errors(number, log_mean, tested.images, own) for number, own in answered]
    calibrations = [Calibration(one.shape[1]).double() for one in predicted]
    optimiser = torch.optim.LBFGS(
        [*parameters.errors.parameters(), *(own for one in calibrations for own in one.parameters())],
        max_iter=STEPS,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -parameters.log_prior()
        for (number, own), log_p, calibration in zip(answered, predicted, calibrations, strict=True):
            likelihood = tested.likelihoods[number]
            given = likelihood.with_errors(parameters.errors[likelihood.name], calibration(log_p), own.annotator)
            loss = loss - given.gather(1, own.answer[:, None]).sum() - calibration.log_prior()
        loss.backward()
        return loss

    optimiser.step(closure)
    return parameters.errors.requires_grad_(False)
