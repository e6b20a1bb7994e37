"""Linear heads fitted to known classes: posteriors by hand, scales, and what they start from."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.learning.linear_heads import USUAL_SD, Scale, fit_labels_exactly, penalty_of_prior_sd


def test_the_posterior_of_two_images_by_hand() -> None:
    """One feature, -1 and 1: w1 = -w0, b = 0, and the derivative by w1 is zero where w1 / sd^2 = 2 / (1 + e^{2 w1})."""
    z = torch.tensor([[-1.0], [1.0]], dtype=torch.double)
    weight, intercept = fit_labels_exactly(z, torch.zeros(2, 2, dtype=torch.double), torch.tensor([0, 1]), 2.0)
    w0, w1 = weight[0].tolist()
    assert w0 == pytest.approx(-w1, abs=1e-5)
    assert intercept.tolist() == pytest.approx([0, 0], abs=1e-5)
    assert w1 / 4 == pytest.approx(2 / (1 + math.exp(2 * w1)), abs=1e-4)


def test_a_strong_prior_keeps_the_initial_head() -> None:
    """And a weak one follows the labels, whatever the head said before."""
    z = torch.tensor([[-1.0], [1.0]], dtype=torch.double)
    initial, labels = torch.tensor([[0.0, 3.0], [3.0, 0.0]], dtype=torch.double), torch.tensor([0, 1])
    weight, _ = fit_labels_exactly(z, initial, labels, 1e-3)
    assert weight.abs().max() < 1e-4
    weight, intercept = fit_labels_exactly(z, initial, labels, 100.0)
    assert (initial + z @ weight + intercept).argmax(1).tolist() == [0, 1]


def test_what_the_initial_head_knows_need_not_be_learned() -> None:
    """It gives the right class 1 nat more, so that w1 / sd^2 = 2 / (1 + e^{1 + 2 w1})."""
    z = torch.tensor([[-1.0], [1.0]], dtype=torch.double)
    initial = torch.eye(2, dtype=torch.double)
    weight, _ = fit_labels_exactly(z, initial, torch.tensor([0, 1]), 2.0)
    w1 = float(weight[0, 1])
    assert w1 / 4 == pytest.approx(2 / (1 + math.exp(1 + 2 * w1)), abs=1e-4)


def test_scales_are_undone_in_the_layer() -> None:
    """Mean [2, 1]; the distances to it are 1, 1, 2 and 2."""
    x = torch.tensor([[2.0, 0.0], [2.0, 2.0], [0.0, 1.0], [4.0, 1.0]], dtype=torch.double)
    scale = Scale.of(x)
    assert scale.mean.tolist() == [2, 1]
    assert scale.norm == pytest.approx(math.sqrt((1 + 1 + 4 + 4) / 4))
    start = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.double), torch.tensor([0.5, 0.0], dtype=torch.double)
    weight, intercept = torch.tensor([[1.0, -1.0], [2.0, 0.0]], dtype=torch.double), torch.tensor([0.1, 0.2])
    layer_weight, layer_bias = scale.as_layer(start, weight, intercept)
    expected = x @ start[0].T + start[1] + scale.applied(x) @ weight + intercept
    assert torch.allclose(x @ layer_weight.T + layer_bias, expected)


def test_features_that_are_all_alike_have_a_scale() -> None:
    assert Scale.of(torch.ones(3, 2, dtype=torch.double)).norm == 1.0


def test_the_usual_prior_sd_has_no_penalty() -> None:
    """And one that is e^0.5 times as large, one standard deviation away, half a nat."""
    assert penalty_of_prior_sd(USUAL_SD) == 0
    assert penalty_of_prior_sd(USUAL_SD * math.exp(0.5)) == pytest.approx(0.5)
