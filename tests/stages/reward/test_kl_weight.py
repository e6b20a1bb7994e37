"""Choosing beta: values worked out by hand, and problems whose best beta is known."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from support.judgment_sets import LABEL, judgment_set
from torch import Tensor

from pipeline.config.reward import RewardConfig
from pipeline.kinds import probabilities as p
from stages.reward.judgment_set import JudgmentSet
from stages.reward.kl_weight import BETAS, Evidence, choose, log_loss
from stages.reward.likelihood_parameters import LikelihoodParameters

CONFIG = RewardConfig()


def losses(log_pi: Tensor, judgments: JudgmentSet) -> Tensor:
    return log_loss(log_pi, judgments, LikelihoodParameters(judgments, CONFIG, mistakes=True).double())


def labels(answer: Tensor, classes: int, rows: Tensor | None = None) -> JudgmentSet:
    """A label choice about each image, 0 to M - 1 unless `rows` are given."""
    rows = torch.arange(len(answer)) if rows is None else rows
    zeros = torch.zeros_like(answer)
    return judgment_set(zeros + LABEL, (rows, rows), (zeros, zeros), answer, class_count=classes)


def test_log_loss_of_a_policy_that_is_right() -> None:
    """Where no answer is a mistake, eta goes to 1 and each answer costs -log of its probability."""
    log_pi = torch.tensor([[0.9, 0.1]] * 40).double().log()
    loss = losses(log_pi, labels(torch.zeros(40, dtype=torch.long), 2))
    assert loss.numpy() == pytest.approx(-math.log(0.9), abs=2e-3)


def test_log_loss_models_mistakes() -> None:
    """A policy that is sure, and nine of ten answers as it says: eta maximises 90 log((1 + eta) / 2) + ... with its prior."""
    log_pi = torch.tensor([[1 - 1e-9, 1e-9]] * 100).double().log()
    answer = torch.tensor([1] * 10 + [0] * 90)

    def negative(eta: float) -> float:
        return -(90 * math.log((1 + eta) / 2) + 10 * math.log((1 - eta) / 2) + 9 * math.log(eta))

    eta = minimize_scalar(negative, bounds=(0.01, 0.999), method="bounded", options={"xatol": 1e-9}).x
    loss = losses(log_pi, labels(answer, 2))
    assert loss[:10].numpy() == pytest.approx(-math.log((1 - eta) / 2), rel=1e-3)
    assert loss[10:].numpy() == pytest.approx(-math.log((1 + eta) / 2), rel=1e-3)


def test_losses_are_in_the_order_of_the_judgments() -> None:
    """Two kinds in turns: the sum over each is that of a set of its own."""
    log_pi = torch.log_softmax(torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double), -1)
    rows, zeros = torch.arange(6), torch.zeros(6, dtype=torch.long)
    kind = torch.tensor([1, 0, 1, 0, 1, 0])
    both = judgment_set(kind, (rows, rows), (zeros, zeros + 1), torch.tensor([0, 1, 2, 0, 1, 1]))
    loss = losses(log_pi, both)
    sides = p.bradley_terry(log_pi[1::2, 0], log_pi[1::2, 1]).gather(-1, both.answer[1::2, None])[:, 0]
    assert (loss[1::2].argsort() == (-sides).argsort()).all(), "comparisons keep their order whatever eta is"
    chosen = log_pi[::2].gather(-1, both.answer[::2, None])[:, 0]
    assert (loss[::2].argsort() == (-chosen).argsort()).all()


def planted(count: int, weight: float, seed: int = 0, of_reference: float = 1.0) -> Evidence:
    """Labels drawn from pi_ref^of_reference e^{weight u}: the best beta is 1 / weight."""
    random = torch.Generator().manual_seed(seed)
    log_ref = torch.log_softmax(torch.randn(count, 3, generator=random, dtype=torch.double), -1)
    reward = 2 * torch.randn(count, 3, generator=random, dtype=torch.double)
    truth = torch.softmax(of_reference * log_ref + weight * reward, -1)
    return Evidence(labels(torch.multinomial(truth, 1, generator=random)[:, 0], 3), log_ref, reward, 0, 0.0)


@pytest.mark.parametrize("weight", [0.25, *(pytest.param(more, marks=pytest.mark.long) for more in (1.0, 2.0))])
def test_many_judgments_find_the_planted_beta(weight: float) -> None:
    chosen = choose(planted(3000, weight), CONFIG)
    assert abs(math.log2(chosen["beta"] * weight)) <= 0.5, "one step of the grid"
    assert chosen["gain"] > 2 * chosen["gain_error"]
    assert "add to what the reference knows" in chosen["sentence"]
    table = {row["beta"]: row for row in chosen["table"]}
    assert list(table) == list(BETAS)
    assert table[chosen["beta"]]["score"] == min(row["score"] for row in chosen["table"])


def test_a_reference_that_is_too_sure_counts_less() -> None:
    """Labels that follow half of its log-probabilities, and none of them."""
    for of_reference, said in ((0.5, "counts 0.5 times"), (0.0, "does not count")):
        chosen = choose(planted(3000, 1.0, of_reference=of_reference), CONFIG)
        assert chosen["prior_weight"] == of_reference
        assert abs(math.log2(chosen["beta"])) <= 0.5
        assert said in chosen["sentence"]
    few = choose(planted(10, 1.0, of_reference=0.5), CONFIG)
    assert few["prior_weight"] >= 0.75


def test_utilities_that_contain_the_reference_count_it_once() -> None:
    """They are log pi_ref plus evidence: where few judgments decide, only their sum with the reference's weight is 1."""
    plain = planted(5, 1.0)
    inside = Evidence(plain.judgments, plain.log_ref, plain.utility + plain.log_ref, 0, 1.0)
    chosen = choose(inside, CONFIG)
    assert chosen["prior_weight"] + 1 / chosen["beta"] == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_comparisons_leave_the_reference_its_say(share: float) -> None:
    """Of two classes each; what they cannot tell is not taken from the reference: with its share in u it counts once."""
    random = torch.Generator().manual_seed(1)
    log_ref = torch.log_softmax(3 * torch.randn(500, 3, generator=random, dtype=torch.double), -1)
    rows, zeros = torch.arange(500), torch.zeros(500, dtype=torch.long)
    answer = torch.randint(2, (500,), generator=random)
    judgments = judgment_set(zeros, (rows, rows), (zeros, zeros + 1), answer)
    utility = share * log_ref + torch.randn(500, 3, generator=random, dtype=torch.double)
    chosen = choose(Evidence(judgments, log_ref, utility, 0, share), CONFIG)
    for row in chosen["table"]:
        assert row["prior_weight"] == pytest.approx(max(0.0, 1 - share / row["beta"]))


def test_few_judgments_stay_near_bayes_rule() -> None:
    """Five judgments that a beta of 1/32 would explain best do not move it to the end of the grid."""
    log_ref = torch.full((5, 2), math.log(0.5), dtype=torch.double)
    reward = torch.tensor([[1.0, -1.0]] * 5, dtype=torch.double)
    chosen = choose(Evidence(labels(torch.zeros(5, dtype=torch.long), 2), log_ref, reward, 0, 0.0), CONFIG)
    assert 0.25 <= chosen["beta"] <= 1


def test_rewards_that_say_nothing_are_ignored() -> None:
    """Labels drawn from the reference, rewards at random: beta goes to the end that keeps the reference."""
    evidence = planted(2000, 0.0)
    chosen = choose(evidence, CONFIG)
    assert chosen["beta"] >= 8
    assert chosen["prior_weight"] == 1
    assert "no gain over the reference is measurable" in chosen["sentence"]


def test_accuracy_takes_no_part() -> None:
    evidence = planted(300, 1.0)
    assert choose(evidence, CONFIG)["beta"] == choose(evidence, CONFIG, lambda weight, beta: weight / beta)["beta"]
