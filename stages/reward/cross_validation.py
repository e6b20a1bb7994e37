"""Cross-validation of linear heads: every judgment is predicted by heads that were fitted without its image.

It chooses how far judgments may move utilities (`reward.prior_sd`), and gives the card, the learning curve and the choice
of beta the predictions of all judgments, where a single split would leave a fifth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.config import RewardConfig
from pipeline.learning.linear_heads import PRIOR_SDS, penalty_of_prior_sd
from pipeline.tracking.metrics_log import Metrics
from stages.reward.folds import Fold
from stages.reward.judgment_set import JudgmentSet
from stages.reward.kl_weight import log_loss
from stages.reward.likelihood_parameters import LikelihoodParameters
from stages.reward.linear_head import Head, HeadProblem


@dataclass(frozen=True, eq=False)
class CrossValidated:
    """Judgments, and the utilities of their images by heads that were fitted without them.

    Attributes:
        tested: M judgments.
        utilities: [U, C] of `tested.images`, one per member.
        trained_on: mean number of judgments of a fold's training set.
    """

    tested: JudgmentSet
    utilities: list[Tensor]
    trained_on: float


def cross_validate(
    folds: list[Fold], fit: Callable[[JudgmentSet, int], list[Head]], problem: HeadProblem
) -> CrossValidated:
    """Fit every fold.

    Args:
        fit: judgments and the number of the fold to heads, one per member.
    """
    heads = [fit(train, number) for number, (train, _) in enumerate(folds)]
    tested = JudgmentSet.joined([test for _, test in folds])
    images = tested.images
    tables = [problem.initial.new_zeros(len(images), problem.initial.shape[1]) for _ in heads[0]]
    for own, (_, test) in zip(heads, folds, strict=True):
        at = torch.searchsorted(images, test.images)
        for table, head in zip(tables, own, strict=True):
            table[at] = problem.utilities(head, test.images)
    return CrossValidated(tested, tables, sum(len(train) for train, _ in folds) / len(folds))


def heldout_loss(result: CrossValidated, config: RewardConfig) -> Tensor:
    """-log P of every judgment [M] under the members' mean probabilities, with annotators' mistakes modelled."""
    parameters = LikelihoodParameters(result.tested, config, mistakes=True).double()
    each = torch.stack(result.utilities)
    if each.shape[-1] == 1:  # items without classes: utilities, whose differences count, are no log-probabilities
        return log_loss(each.mean(0), result.tested, parameters)
    each = torch.log_softmax(each, -1)
    log_pi = each[0] if len(each) == 1 else each.exp().mean(0).log()
    return log_loss(log_pi, result.tested, parameters)


def choose_prior_sd(problem: HeadProblem, folds: list[Fold], metrics: Metrics) -> float:
    """The candidate under which held-out judgments are most probable, with a prior around the usual one."""
    near: dict[int, Head] = {}
    scores: dict[float, float] = {}

    def fit(train: JudgmentSet, number: int) -> list[Head]:
        near[number] = problem.fit(train, sd, near.get(number))
        return [near[number]]

    for sd in tqdm(PRIOR_SDS, "reward model, prior_sd", unit="value", leave=False, disable=None):
        result = cross_validate(folds, fit, problem)
        loss = heldout_loss(result, problem.config)
        scores[sd] = float(loss.sum()) + penalty_of_prior_sd(sd)
        metrics.add(prior_sd=sd, heldout_log_loss=float(loss.mean()), score=scores[sd] / len(loss))
    return min(scores, key=scores.__getitem__)
