"""Cross-validation of linear heads: every judgment is predicted by heads that were fitted without its image.

It chooses how far judgments may move utilities (`reward.prior_sd`), and gives the card, the learning curve and the choice
of beta the predictions of all judgments, where a single split would leave a fifth.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.config import RewardConfig
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.models.policy import final_linear
from pipeline.run import next_command
from pipeline.run.runtime import Stream, generator
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics
from stages.reward.error_rates import learn_error_rates
from stages.reward.evaluate import accuracy_interval, predict
from stages.reward.fit import Member
from stages.reward.folds import FOLDS, Fold, bootstrap_by_image, folds_by_image
from stages.reward.judgment_set import JudgmentSet
from stages.reward.kl_weight import log_loss
from stages.reward.likelihood_parameters import LikelihoodParameters
from stages.reward.linear_head import Head, HeadProblem
from stages.reward.trained import Trained
from stages.reward.unlabelled import Propagation, Spread, Targets

PRIOR_SDS = (0.3, 0.5, 1.0, 1.7, 3.0, 5.0, 10.0)  # nats
# Prior of log(prior_sd), in units of a standard deviation: few judgments cannot tell the candidates apart. Chosen on ants
# and bees, seeds 116 to 139 (docs/choosing-beta.md).
USUAL_SD, LOG_SD_WIDTH = 1.8, 0.5
WEIGHTS = (0.0, 0.1, 0.3, 1.0)  # of an image that nobody judged, in judgments


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
    each = torch.log_softmax(torch.stack(result.utilities), -1)
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
        scores[sd] = float(loss.sum()) + (math.log(sd / USUAL_SD) / LOG_SD_WIDTH) ** 2 / 2
        metrics.add(prior_sd=sd, heldout_log_loss=float(loss.mean()), score=scores[sd] / len(loss))
    return min(scores, key=scores.__getitem__)


def choose_weight(problem: HeadProblem, folds: list[Fold], sd: float, propagation: Propagation) -> tuple[Spread, float]:
    """How judgments spread to neighbours, and how much images that nobody judged count.

    Both are those under which held-out judgments are most probable; the second may be 0: then they teach nothing.
    """
    how = propagation.choose(folds)
    scores = {}
    for weight in WEIGHTS:

        def fit(train: JudgmentSet, number: int, weight: float = weight) -> list[Head]:
            return [problem.fit(train, sd, targets=propagation.targets(train, how, weight) if weight else None)]

        result = cross_validate(folds, fit, problem)
        scores[weight] = float(heldout_loss(result, problem.config).sum())
    return how, min(scores, key=scores.__getitem__)


def train_heads(
    ws: Workspace, network: nn.Module, features: Features, judgments: JudgmentSet, images: Tensor, metrics: Metrics
) -> Trained:
    """Fit the reward model's heads to all judgments, and to folds of them for their evaluation.

    Args:
        network: ends in the linear layer that is fitted, on these features.
        images: [U] row numbers, ascending: the judged ones, and those that learn from them.

    Raises:
        UserError: too few judged images.
    """
    config, seed = ws.config.reward, ws.config.seed
    problem = HeadProblem.of_network(config, network, features, images)
    folds = folds_by_image(judgments, FOLDS, generator(seed, Stream.REWARD_FOLDS))
    if not folds:
        raise UserError(f"too few judgments to hold some out by image; run `{next_command.make('collect')}` for more")
    sd = config.prior_sd if config.prior_sd != "auto" else choose_prior_sd(problem, folds, metrics)
    propagation, how, weight = None, Spread(0.0, 1.0), 0.0
    if len(images) > len(judgments.images):  # others learn as well
        propagation = Propagation(config, features, ws.rows("train"), len(ws.classes))
        how, weight = choose_weight(problem, folds, sd, propagation)

    rates: nn.ModuleDict | None = None

    def taught(train: JudgmentSet) -> Targets | None:
        return propagation.targets(train, how, weight) if propagation and weight else None

    def fit(train: JudgmentSet, number: int) -> list[Head]:
        targets = taught(train)
        return [problem.fit(own, sd, targets=targets, error_rates=rates) for own in _samples(ws, train)]

    def fit_one(train: JudgmentSet, number: int) -> list[Head]:
        return [problem.fit(train, sd, targets=taught(train), error_rates=rates)]

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
    unlabelled = "propagate" if weight else "none"
    curve.append(_point(trained, result))
    return Trained(members, utilities, result.tested, held_out, curve, len(folds), sd, unlabelled)


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
