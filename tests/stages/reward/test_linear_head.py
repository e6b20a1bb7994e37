"""Linear heads fitted exactly, and their cross-validation: posteriors that another optimiser finds, and planted truth."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from support.judgment_sets import COMPARISON, LABEL, judgment_set
from torch import Tensor, nn

from pipeline.config.reward import RewardConfig
from pipeline.learning.linear_heads import INTERCEPT_SD, PRIOR_SDS
from pipeline.models.known_classes import KnownClasses
from pipeline.run.runtime import Runtime
from pipeline.tracking.metrics_log import Metrics
from stages.reward.cross_validation import choose_prior_sd, cross_validate
from stages.reward.folds import folds_by_image
from stages.reward.judgment_set import JudgmentSet
from stages.reward.linear_head import Head, HeadProblem

CONFIG = RewardConfig(start="backbone")


def labels(answer: Tensor, classes: int = 3, rows: Tensor | None = None) -> JudgmentSet:
    rows = torch.arange(len(answer)) if rows is None else rows
    zeros = torch.zeros_like(answer)
    return judgment_set(zeros + LABEL, (rows, rows), (zeros, zeros), answer, class_count=classes)


def problem(x: Tensor, classes: int = 3, rows: Tensor | None = None) -> HeadProblem:
    """Starts at zero utilities."""
    rows = torch.arange(len(x)) if rows is None else rows
    return HeadProblem(CONFIG, rows, x, torch.zeros(classes, x.shape[1]), torch.zeros(classes))


def drawn(count: int, strength: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features of four dimensions, and labels drawn from a linear softmax model whose utilities have about that sd."""
    random = torch.Generator().manual_seed(seed)
    x = 5 + 2 * torch.randn(count, 4, generator=random, dtype=torch.double)
    weight = strength * torch.randn(4, 3, generator=random, dtype=torch.double) / 4
    return x, torch.multinomial(torch.softmax((x - 5) @ weight, -1), 1, generator=random)[:, 0]


def test_the_posterior_is_that_of_another_optimiser() -> None:
    """Two classes, one feature: features 0, 2 become -1, 1; scipy minimises the same posterior, written out.

    Ten of eleven label choices are the model's, the others guesses between the two.
    """
    head = problem(torch.tensor([[0.0], [2.0]]), 2).fit(labels(torch.tensor([0, 1]), 2), prior_sd=2.0)

    def posterior(theta: np.ndarray) -> float:
        (w0, w1, b0, b1) = theta
        loss = 0.0
        for z, chosen in ((-1.0, 0), (1.0, 1)):
            u = np.array([w0 * z + b0, w1 * z + b1])
            loss -= np.log(10 / 11 * np.exp(u[chosen]) / np.exp(u).sum() + 1 / 22)
        return float(loss + (w0**2 + w1**2) / 2 / 4 + (b0**2 + b1**2) / 2 / INTERCEPT_SD**2)

    best = minimize(posterior, np.zeros(4), tol=1e-12).x
    assert head.weight.flatten().tolist() == pytest.approx(best[:2], abs=1e-4)
    assert head.intercept.tolist() == pytest.approx(best[2:], abs=1e-4)
    # By symmetry w1 = -w0 and b = 0; the derivative by w1 is zero where w1 / 4 = 2 a p (1 - p) / (a p + 1 / 22).
    w1 = float(head.weight[0, 1])
    right = 1 / (1 + math.exp(-2 * w1))
    assert w1 / 4 == pytest.approx(2 * (10 / 11) * right * (1 - right) / (10 / 11 * right + 1 / 22), abs=1e-4)


def test_the_linear_layer_gives_the_same_utilities() -> None:
    """Centring and scale are undone, and the initial head is added."""
    x, answer = drawn(40, 2.0)
    random = torch.Generator().manual_seed(3)
    weight, bias = torch.randn(3, 4, generator=random), torch.randn(3, generator=random)
    own = HeadProblem(CONFIG, torch.arange(40), x, weight, bias)
    head = own.fit(labels(answer), prior_sd=3.0)
    layer_weight, layer_bias = own.linear(head)
    assert torch.allclose(x @ layer_weight.T + layer_bias, own.utilities(head, torch.arange(40)), atol=1e-9)


def test_a_small_prior_sd_keeps_the_initial_head() -> None:
    x, answer = drawn(40, 2.0)
    weight, bias = torch.ones(3, 4), torch.tensor([1.0, 2.0, 3.0])
    own = HeadProblem(CONFIG, torch.arange(40), x, weight, bias)
    moved = own.fit(labels(answer), prior_sd=1e-4)
    change = own.utilities(moved, torch.arange(40)) - (x @ weight.double().T + bias)
    assert float((change - change.mean(0)).abs().max()) < 1e-4, "all images are moved alike, by the intercept"


def test_shifting_and_scaling_features_changes_nothing() -> None:
    x, answer = drawn(30, 2.0)
    one = problem(x)
    two = problem(10 * x - 70)
    rows = torch.arange(30)
    first, second = (of.utilities(of.fit(labels(answer), 2.0), rows) for of in (one, two))
    assert torch.allclose(first, second, atol=1e-3)


def test_a_warm_start_ends_at_the_same_head() -> None:
    x, answer = drawn(60, 2.0)
    own = problem(x)
    near = own.fit(labels(answer), 1.0)
    cold, warm = own.fit(labels(answer), 3.0), own.fit(labels(answer), 3.0, near)
    assert torch.allclose(cold.weight, warm.weight, atol=1e-3)


def test_judgments_of_some_images_only() -> None:
    """Rows are found by their number, not by their place."""
    x, answer = drawn(20, 2.0)
    rows = torch.arange(20) * 3 + 1
    of_all = problem(x, rows=rows)
    some = labels(answer, rows=rows).pick(torch.arange(10, 20))
    head = of_all.fit(some, 2.0)
    assert torch.equal(of_all.utilities(head, rows[10:]), of_all.utilities(head, rows)[10:])


def test_comparisons_are_fitted_with_the_same_code() -> None:
    """Class 0 beats class 1 on images of positive feature only, and never meets class 2."""
    x = torch.linspace(-1, 1, 20)[:, None].double()
    rows, zeros = torch.arange(20), torch.zeros(20, dtype=torch.long)
    judgments = judgment_set(zeros + COMPARISON, (rows, rows), (zeros, zeros + 1), (x[:, 0] < 0).long())
    own = problem(x)
    u = own.utilities(own.fit(judgments, 3.0), rows)
    assert ((u[:, 0] > u[:, 1]) == (x[:, 0] > 0)).all()
    assert float(u[:, 2].abs().max()) < 1e-6


def test_every_image_is_tested_by_heads_that_never_saw_it() -> None:
    """Two answers about each of 20 images, in five folds."""
    rows = torch.arange(20).repeat(2)
    judgments = labels(torch.zeros(40, dtype=torch.long), rows=rows)
    folds = folds_by_image(judgments, 5, torch.Generator().manual_seed(0))
    own = problem(torch.randn(20, 2, generator=torch.Generator().manual_seed(1)))
    numbers: list[int] = []

    def fit(train: JudgmentSet, number: int) -> list[Head]:
        numbers.append(number)
        like = own.fit(train, 1.0)
        return [Head(torch.zeros_like(like.weight), torch.full((3,), float(number)), like.latent, 0)]

    result = cross_validate(folds, fit, own)
    assert numbers == [0, 1, 2, 3, 4]
    assert len(result.tested) == 40
    assert result.trained_on == 32
    for number, (train, test) in enumerate(folds):
        assert len(test.images) == 4
        assert set(train.images.tolist()) == set(range(20)) - set(test.images.tolist())
        assert (result.utilities[0][test.images] == number).all()


def test_comparisons_across_folds_are_left_out() -> None:
    """A judgment of two images is trained on where neither is in the fold, and tested where both are."""
    rows, zeros = torch.arange(6), torch.zeros(6, dtype=torch.long)
    pairs = judgment_set(zeros + COMPARISON, (rows, (rows + 1) % 6), (zeros, zeros), zeros)
    for train, test in folds_by_image(pairs, 2, torch.Generator().manual_seed(0)):
        assert not set(train.images.tolist()) & set(test.images.tolist())


@pytest.mark.parametrize(("strength", "expected"), [(0.0, {0.3, 0.5, 1.0, 1.7}), (6.0, {3.0, 5.0, 10.0})])
def test_the_prior_sd_is_chosen_by_held_out_judgments(strength: float, expected: set[float]) -> None:
    """Labels at random, and labels that follow the features: no candidate is better than the usual, or utilities may go far."""
    x, answer = drawn(300, strength)
    metrics = Metrics(None)
    folds = folds_by_image(labels(answer), 5, torch.Generator().manual_seed(0))
    assert choose_prior_sd(problem(x), folds, metrics) in expected
    assert [row["prior_sd"] for row in metrics.rows] == list(PRIOR_SDS)


def test_few_judgments_stay_at_the_usual_prior_sd() -> None:
    """The likelihood of eight answers that the features explain would choose the largest candidate."""
    x = torch.tensor([-1.0, 1.0] * 4).double()[:, None]
    answer = torch.tensor([0, 1] * 4)
    folds = folds_by_image(labels(answer, 2), 4, torch.Generator().manual_seed(0))
    metrics = Metrics(None)
    assert choose_prior_sd(problem(x, 2), folds, metrics) in (1.7, 3.0)
    assert min(metrics.rows, key=lambda row: row["heldout_log_loss"])["prior_sd"] == 10.0


def test_known_classes_are_no_evidence_beside_the_reference() -> None:
    """Fitted from zero, the head does not use the log-probabilities that the reference consists of."""
    x, answer = drawn(40, 2.0)
    network = KnownClasses(nn.Identity(), nn.Linear(4, 3), 4, False, ((0,), (1,), (2,)))
    inputs = torch.cat([x, torch.log_softmax(x[:, :3], -1)], 1).float()
    features = SimpleNamespace(batch=lambda rows: inputs[rows], runtime=Runtime(torch.device("cpu")))
    own = HeadProblem.of_network(CONFIG, network, features, labels(answer).images)  # type: ignore[arg-type]
    weight, _ = own.linear(own.fit(labels(answer), 2.0))
    assert float(weight[:, -3:].abs().max()) == 0
    assert float(weight[:, :4].abs().min()) > 0
    again = HeadProblem.of_network(RewardConfig(start="reference"), network, features, labels(answer).images)  # type: ignore[arg-type]
    weight, _ = again.linear(again.fit(labels(answer), 2.0))
    assert float(weight[:, -3:].abs().min()) > 0
