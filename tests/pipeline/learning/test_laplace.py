"""The Laplace approximation of the last layer against values by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.learning.laplace import last_layer_samples, log_mean_probability, standardised


def test_standardised_by_hand() -> None:
    """Centred at 3, the values are -2, 0, 2; their mean square is 8 / 3."""
    x = standardised(torch.tensor([[1.0], [3.0], [5.0]]))
    assert x[:, 0].tolist() == pytest.approx([-2 / math.sqrt(8 / 3), 0.0, 2 / math.sqrt(8 / 3)])
    assert x[:, 1].tolist() == [1.0, 1.0, 1.0]


def test_variance_by_hand() -> None:
    """Two images at -1 and 1, the second judged four times at p = 1/2, so that its curvature is 1 in each class.

    The precision is diag(1 / 4, 1 / 9) + [[1, 1], [1, 1]]; the variance of u at +-1 is (+-1, 1) S (+-1, 1)^T.
    """
    features, utilities = torch.tensor([[-1.0], [1.0]]), torch.zeros(2, 2)
    random = torch.Generator().manual_seed(0)
    log_p = last_layer_samples(
        features, utilities, torch.tensor([1]), torch.tensor([4]), random, prior_sd=2.0, draws=40_000
    )
    gap = log_p[:, :, 0] - log_p[:, :, 1]  # of two classes with independent weights: twice the variance
    covariance = torch.linalg.inv(torch.tensor([[1.25, 1.0], [1.0, 1 + 1 / 9]], dtype=torch.double))
    for row, x in enumerate((-1.0, 1.0)):
        at = torch.tensor([x, 1.0], dtype=torch.double)
        assert float(gap[:, row].var()) == pytest.approx(2 * float(at @ covariance @ at), rel=0.03)
    assert float(gap.mean()) == pytest.approx(0.0, abs=0.1)


def test_judgments_make_sure() -> None:
    """Far from what was judged the draws differ more than near it."""
    features = torch.tensor([[0.0, 1.0], [0.1, 1.0], [5.0, -1.0], [-5.0, -1.0]])
    random = torch.Generator().manual_seed(0)
    log_p = last_layer_samples(features, torch.zeros(4, 3), torch.tensor([0]), torch.tensor([20]), random, draws=500)
    spread = log_p.std(0).mean(-1)
    assert float(spread[0]) < float(spread[2])


def test_log_mean_probability_by_hand() -> None:
    draws = torch.tensor([[[0.2, 0.8]], [[0.6, 0.4]]]).log()
    assert log_mean_probability(draws).exp().tolist() == [pytest.approx([0.4, 0.6])]


def test_more_features_than_are_kept() -> None:
    """Only the first principal components are kept, and the draws stay finite."""
    features = torch.randn(20, 600, generator=torch.Generator().manual_seed(1))
    random = torch.Generator().manual_seed(0)
    log_p = last_layer_samples(features, torch.zeros(20, 3), torch.tensor([0, 1]), torch.tensor([1, 1]), random)
    assert standardised(features).shape == (20, 513)
    assert bool(torch.isfinite(log_p).all())
