"""Reward heads of items without classes: what is held out, and heads that recover a planted preference."""

from __future__ import annotations

import torch

from pipeline.config import RewardConfig
from pipeline.kinds import likelihoods
from pipeline.kinds.comparison import PAIR_LIKELIHOOD
from pipeline.tracking.metrics_log import Metrics
from stages.reward.folds import compared_groups, folds_by_item, split_by_item
from stages.reward.item_heads import fit_heads
from stages.reward.judgment_set import JudgmentSet


def judgments(rows: torch.Tensor, answer: torch.Tensor) -> JudgmentSet:
    """Comparisons of pairs of rows [M, 2] without classes, by one person."""
    count, number = len(rows), likelihoods().index(PAIR_LIKELIHOOD)
    zeros = torch.zeros(count, dtype=torch.long)
    return JudgmentSet(
        likelihoods(),
        torch.full((count,), number),
        rows,
        torch.zeros(count, 2, dtype=torch.long),
        answer,
        zeros,
        ("ann",),
        tuple(one.count_answers(answer if one is PAIR_LIKELIHOOD else zeros[:0], 1) for one in likelihoods()),
    )


def test_groups_are_what_comparisons_connect() -> None:
    some = judgments(torch.tensor([[2, 5], [5, 9], [7, 3]]), torch.tensor([0, 1, 0]))
    items, group = compared_groups(some)
    assert items.tolist() == [2, 3, 5, 7, 9]
    assert group[[0, 2, 4]].unique().numel() == 1
    assert group[[1, 3]].unique().numel() == 1
    assert group[0] != group[1]


def test_pairs_of_their_own_are_held_out_without_losing_any() -> None:
    """Folds of single items would test a 25th of these judgments each, and lose a third of the others."""
    own = judgments(torch.arange(200).view(-1, 2), torch.zeros(100, dtype=torch.long))
    folds = folds_by_item(own, 5, torch.Generator().manual_seed(0))
    assert [(len(train), len(test)) for train, test in folds] == [(80, 20)] * 5
    assert len(torch.cat([test.rows_a for _, test in folds]).unique()) == 100
    train, heldout = split_by_item(own, 0.2, torch.Generator().manual_seed(0))
    assert (len(train), len(heldout)) == (80, 20)


def test_no_item_is_on_both_sides_of_a_split() -> None:
    random = torch.Generator().manual_seed(0)
    connected = judgments(torch.randint(0, 40, (400, 2), generator=random), torch.zeros(400, dtype=torch.long))
    for train, test in [*folds_by_item(connected, 5, random), split_by_item(connected, 0.3, random)]:
        assert len(train)
        assert len(test)
        assert not set(train.images.tolist()) & set(test.images.tolist())


def test_heads_recover_a_planted_preference() -> None:
    """Without noise, held-out answers are predicted; the chosen prior is wide, since utilities are far apart."""
    random = torch.Generator().manual_seed(0)
    x, direction = torch.randn(400, 3, generator=random) + 3, torch.tensor([2.0, -1.0, 0.5])
    rows = torch.arange(400).view(-1, 2)
    answer = (x @ direction)[rows].argmax(1)
    metrics = Metrics(None)
    fitted = fit_heads(x, judgments(rows, answer), RewardConfig(members=2), 0, metrics)
    evaluated = fitted.evaluated
    assert len(fitted.heads) == len(evaluated.members) == 2
    weight, bias = fitted.heads[0]
    assert (weight.shape, bias.shape) == ((1, 3), (1,))
    assert float(torch.cosine_similarity(weight[0], direction, dim=0)) > 0.98
    assert evaluated.curve[-1]["accuracy"] > 0.94
    assert [point["judgments"] for point in evaluated.curve] == [40, 80, 160]
    assert (evaluated.folds, len(evaluated.heldout), evaluated.rewards.shape) == (5, 200, (400, 1))
    losses = {row["prior_sd"]: row["heldout_log_loss"] for row in metrics.rows}
    assert losses[10.0] < losses[0.3] - 0.1, "the candidates differ: utilities of one class are no log-probabilities"
    assert evaluated.prior_sd is not None
    assert evaluated.prior_sd >= 3


def test_heldout_utilities_are_not_those_of_the_final_heads() -> None:
    """Random answers: the final head fits some of them, heads of the other folds predict them by chance."""
    random = torch.Generator().manual_seed(1)
    x, rows = torch.randn(200, 60, generator=random), torch.arange(200).view(-1, 2)
    answer = torch.randint(0, 2, (100,), generator=random)
    fitted = fit_heads(x, judgments(rows, answer), RewardConfig(prior_sd=10, curve=[]), 0, Metrics(None))
    (weight, bias), held_out = fitted.heads[0], fitted.evaluated.heldout_utilities[0]

    def agreement(utilities: torch.Tensor) -> float:
        return float((utilities[rows][..., 0].argmax(1) == answer).float().mean())

    assert agreement(x @ weight.T + bias) > 0.95
    assert agreement(held_out) < 0.7
