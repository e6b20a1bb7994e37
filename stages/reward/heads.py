"""Linear heads as the reward model: chosen by cross-validation, fitted to all judgments (docs/method.md 1)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import nn

from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.models.policy import final_linear
from pipeline.run import next_command
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.reward.cross_validation import CrossValidated, choose_prior_sd, cross_validate, heldout_loss
from stages.reward.error_rates import learn_error_rates
from stages.reward.evaluate import accuracy_interval, predict
from stages.reward.fit import Member
from stages.reward.folds import FOLDS, Fold, bootstrap_by_image, folds_by_image
from stages.reward.head_teaching import HeadTeaching, choose_teaching
from stages.reward.judgment_set import JudgmentSet
from stages.reward.linear_head import Head, HeadProblem
from stages.reward.trained import Trained


def train_heads(
    ws: Workspace,
    network: nn.Module,
    features: Features,
    judgments: JudgmentSet,
    metrics: Metrics,
    teaching: HeadTeaching,
) -> Trained:
    """Fit the reward model's heads to all judgments, and to folds of them for their evaluation.

    Args:
        network: ends in the linear layer that is fitted, on these features.
        teaching: what images that nobody judged may teach; held-out judgments choose.

    Raises:
        UserError: too few judged images.
    """
    config, seed = ws.config.reward, ws.config.seed
    problem = HeadProblem.of_network(config, network, features, teaching.images)
    folds = folds_by_image(judgments, FOLDS, generator(seed, Stream.REWARD_FOLDS))
    if not folds:
        raise UserError(f"too few judgments to hold some out by image; run `{next_command.make('collect')}` for more")
    sd = config.prior_sd if config.prior_sd != "auto" else choose_prior_sd(problem, folds, metrics)
    teaching = choose_teaching(teaching, problem, folds, sd, wanted=config.unlabelled)
    rates: nn.ModuleDict | None = None

    def fit(train: JudgmentSet, number: int) -> list[Head]:
        return teaching.heads(problem, train, sd, samples=_samples(ws, train), error_rates=rates)

    def fit_one(train: JudgmentSet, number: int) -> list[Head]:
        return teaching.heads(problem, train, sd, error_rates=rates)

    result = cross_validate(folds, fit, problem)
    if rates := learn_error_rates(result.tested, result.utilities, config):
        result = cross_validate(folds, fit, problem)  # better heads, which know how often people err
    loss = float(heldout_loss(result, config).mean())
    if not metrics.rows:
        metrics.add(prior_sd=sd, heldout_log_loss=loss)
    members = [_member(ws, network, problem, head, loss) for head in fit(judgments, len(folds))]
    utilities = [ws.scores(member.pieces, member.features) for member in members]
    images = result.tested.images
    held_out = [
        table.clone().index_copy_(0, images, own.float())
        for table, own in zip(utilities, result.utilities, strict=True)
    ]
    trained = Trained(members, utilities, result.tested, held_out, [], len(folds), sd)
    curve = [_point(trained, smaller) for smaller in _smaller(ws, problem, folds, fit_one)]
    curve.append(_point(trained, result))
    return Trained(members, utilities, result.tested, held_out, curve, len(folds), sd, teaching.name)


@torch.no_grad()
def _member(ws: Workspace, network: nn.Module, problem: HeadProblem, head: Head, log_loss: float) -> Member:
    """A network with a fitted head."""
    network = copy.deepcopy(network)
    layer = final_linear(network)
    for parameter, value in zip((layer.weight, layer.bias), problem.linear(head), strict=True):
        parameter.copy_(value)
    pieces, features = ws.cut(network)
    return Member(pieces, features, copy.deepcopy(head.latent).float(), head.iterations, log_loss)


def _samples(ws: Workspace, train: JudgmentSet) -> Iterator[JudgmentSet]:
    """Each member's judgments: all of them, or with several members a bootstrap sample of the images."""
    count = ws.config.reward.members
    for number in range(count):
        yield train if count == 1 else bootstrap_by_image(train, generator(ws.config.seed, Stream.BOOTSTRAP, number))


def _smaller(
    ws: Workspace, problem: HeadProblem, folds: list[Fold], fit: Callable[[JudgmentSet, int], list[Head]]
) -> Iterator[CrossValidated]:
    """Each fold fitted to a share of its images, for the learning curve."""
    random = generator(ws.config.seed, Stream.LEARNING_CURVE)
    shuffled = []
    for train, test in folds:
        images = torch.unique(train.rows_a)
        shuffled.append((train, test, images[torch.randperm(len(images), generator=random)]))
    for share in sorted(ws.config.reward.curve):
        some = [
            (train.pick(torch.isin(train.rows_a, order[: round(share * len(order))])), test)
            for train, test, order in shuffled
        ]
        if all(0 < len(part) < len(train) for (part, _), (train, _) in zip(some, folds, strict=True)):
            yield cross_validate(some, fit, problem)


def _point(trained: Trained, result: CrossValidated) -> dict[str, float]:
    members = trained.members[: len(result.utilities)]
    p = predict(members, [u.float() for u in result.utilities], result.tested.images, result.tested)
    accuracy, low, high = accuracy_interval(p.correct, p.image)
    return {"judgments": round(result.trained_on), "accuracy": accuracy, "low": low, "high": high}
