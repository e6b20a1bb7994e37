"""Linear reward heads for items without classes, e.g. texts: r(x) = w · f(x) + b, [N, 1], on fixed features f.

As for images (`heads.py`): cross-validation chooses the prior's standard deviation and predicts every judgment by heads
that were fitted without its items; the heads themselves are fitted to all judgments (docs/method.md 1).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.config import RewardConfig
from pipeline.errors import UserError
from pipeline.learning.reward_card import Evaluated, FittedHeads, MemberParameters
from pipeline.run import next_command
from pipeline.run.runtime import Stream, generator
from pipeline.tracking.metrics_log import Metrics
from stages.reward.cross_validation import CrossValidated, choose_prior_sd, cross_validate, heldout_loss
from stages.reward.evaluate import accuracy_interval, predict
from stages.reward.folds import FOLDS, Fold, bootstrap_by_image, folds_by_item
from stages.reward.judgment_set import JudgmentSet
from stages.reward.linear_head import Head, HeadProblem


def fit_heads(x: Tensor, judgments: JudgmentSet, config: RewardConfig, seed: int, metrics: Metrics) -> FittedHeads:
    """Fit the ensemble's heads to all judgments, and heads to folds of them for the evaluation.

    Args:
        x: [N, D] features of all items.

    Raises:
        UserError: too few judged items.
    """
    width = x.shape[1]
    images = judgments.images
    problem = HeadProblem(config, images, x[images], torch.zeros(1, width), torch.zeros(1))
    folds = folds_by_item(judgments, FOLDS, generator(seed, Stream.REWARD_FOLDS))
    if not folds:
        raise UserError(
            "too few judgments: some must be held out whose items are in no other judgment; "
            f"run `{next_command.make('collect')}` for more"
        )
    sd = config.prior_sd if config.prior_sd != "auto" else choose_prior_sd(problem, folds, metrics)

    def fit(train: JudgmentSet, number: int) -> list[Head]:
        return [problem.fit(own, sd) for own in _samples(train, config.members, seed)]

    result = cross_validate(folds, fit, problem)
    if not metrics.rows:
        metrics.add(prior_sd=sd, heldout_log_loss=float(heldout_loss(result, config).mean()))
    heads = fit(judgments, len(folds))
    linear = [tuple(part.float() for part in problem.linear(head)) for head in heads]
    members = [MemberParameters(head.latent.float(), head.iterations) for head in heads]
    tables = [
        (x @ weight.T + bias).index_copy(0, result.tested.images, own.float())
        for (weight, bias), own in zip(linear, result.utilities, strict=True)
    ]
    curve = [_point(members[:1], smaller) for smaller in _smaller(problem, folds, sd, seed)]
    curve.append(_point(members, result))
    tie = sum(member.latent.nu for member in members) / len(members)
    rewards = torch.stack(tables).mean(0)
    evaluated = Evaluated(members, rewards, result.tested, tables, curve, tie=tie, folds=len(folds), prior_sd=sd)
    return FittedHeads([(weight, bias) for weight, bias in linear], evaluated)


def _samples(train: JudgmentSet, members: int, seed: int) -> Iterator[JudgmentSet]:
    """Each member's judgments: all of them, or with several members a bootstrap sample of the items."""
    for number in range(members):
        yield train if members == 1 else bootstrap_by_image(train, generator(seed, Stream.BOOTSTRAP, number))


def _smaller(problem: HeadProblem, folds: list[Fold], sd: float, seed: int) -> Iterator[CrossValidated]:
    """Each fold fitted to a share of its judgments, for the learning curve."""
    random = generator(seed, Stream.LEARNING_CURVE)
    shuffled = [(train, test, torch.randperm(len(train), generator=random)) for train, test in folds]
    for share in sorted(problem.config.curve):
        some = [(train.pick(order[: round(share * len(order))]), test) for train, test, order in shuffled]
        if all(0 < len(part) < len(train) for (part, _), (train, _) in zip(some, folds, strict=True)):
            yield cross_validate(some, lambda train, _: [problem.fit(train, sd)], problem)


def _point(members: list[MemberParameters], result: CrossValidated) -> dict[str, float]:
    return _accuracy(members, [one.float() for one in result.utilities], round(result.trained_on), result.tested)


def curve_point(
    members: list[MemberParameters], utilities: list[Tensor], trained_on: int, heldout: JudgmentSet
) -> dict[str, float]:
    """A point of the learning curve: held-out accuracy with its interval.

    Args:
        utilities: [N, C] of all items, one per member.
        trained_on: number of judgments.
    """
    return _accuracy(members, [one[heldout.images] for one in utilities], trained_on, heldout)


def _accuracy(
    members: list[MemberParameters], utilities: list[Tensor], trained_on: int, heldout: JudgmentSet
) -> dict[str, float]:
    p = predict(members, utilities, heldout.images, heldout)
    accuracy, low, high = accuracy_interval(p.correct, p.image)
    return {"judgments": trained_on, "accuracy": accuracy, "low": low, "high": high}
