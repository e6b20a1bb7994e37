"""Likelihoods by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from pipeline.kinds import probabilities as p
from pipeline.kinds.probabilities import TIE


def one(value: float) -> Tensor:
    return torch.tensor([float(value)])


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_bradley_terry_by_hand() -> None:
    assert p.bradley_terry(one(2), one(1)).exp()[0].tolist() == pytest.approx([sigma(1), sigma(-1)])


def test_davidson_by_hand() -> None:
    """P(A) : P(B) : P(tie) = e^2 : e^1 : nu e^1.5."""
    total = math.e**2 + math.e + 0.5 * math.e**1.5
    expected = [math.e**2 / total, math.e / total, 0.5 * math.e**1.5 / total]
    assert p.davidson(one(2), one(1), torch.tensor(0.5).log()).exp()[0].tolist() == pytest.approx(expected)


def test_davidson_without_ties_is_bradley_terry() -> None:
    r_a, r_b = torch.randn(20), torch.randn(20)
    assert torch.allclose(p.davidson(r_a, r_b, torch.tensor(-math.inf))[:, :2], p.bradley_terry(r_a, r_b), atol=1e-6)


def test_a_tie_at_equal_scores_has_no_gradient() -> None:
    r = torch.tensor([1.5, 1.5], requires_grad=True)
    p.davidson(r[:1], r[1:], torch.tensor(0.0))[0, TIE].backward()
    assert r.grad is not None
    assert r.grad.abs().max() == 0


def test_luce_by_hand_and_bradley_terry_is_its_two_item_case() -> None:
    r = torch.tensor([[1.0, 2.0, 4.0]])
    assert p.label_choice(r).exp()[0, 1].item() == pytest.approx(math.e**2 / (math.e + math.e**2 + math.e**4))
    two = torch.randn(9, 2)
    assert torch.allclose(p.label_choice(two), p.bradley_terry(two[:, 0], two[:, 1]), atol=1e-6)


def test_verdict_by_hand() -> None:
    assert p.verdict(one(1.5), torch.tensor(0.5)).exp()[0].tolist() == pytest.approx([sigma(-1), sigma(1)])


def test_ordinal_by_hand() -> None:
    cuts, r = [-1.0, 0.5, 2.0], 0.25
    bounds = [0.0, *(sigma(c - r) for c in cuts), 1.0]
    expected = [high - low for low, high in pairwise(bounds)]
    assert p.ordinal(one(r), torch.tensor(cuts)).exp()[0].tolist() == pytest.approx(expected)


def test_ordinal_with_two_levels_is_a_verdict() -> None:
    r, tau = torch.randn(9), torch.tensor(0.3)
    assert torch.allclose(p.ordinal(r, tau.view(1)), p.verdict(r, tau), atol=1e-6)


def test_gaussian_by_hand() -> None:
    """Rating 2 of 3 is z = 0; mean 0.1 + 0.5 * 2, deviation 0.8."""
    log_p = p.gaussian(
        one(2.0), 3, offset=torch.tensor(0.1), log_gain=torch.tensor(0.5).log(), log_sigma=torch.tensor(0.8).log()
    )
    expected = -0.5 * (1.1 / 0.8) ** 2 - math.log(0.8) - 0.5 * math.log(2 * math.pi)
    assert log_p[0, 1].item() == pytest.approx(expected)


def test_unreliable_by_hand() -> None:
    """Crowd-BT: eta P(A) + (1 - eta) P(B)."""
    log_p = p.bradley_terry(one(1.0), one(0.0))
    mixed = p.unreliable(log_p, one(0.7).log(), one(0.3).log(), log_p.flip(-1)).exp()[0]
    assert mixed.tolist() == pytest.approx([0.7 * sigma(1) + 0.3 * sigma(-1), 0.7 * sigma(-1) + 0.3 * sigma(1)])


@pytest.mark.parametrize("scale", [1e3, 1e6])
def test_no_overflow_and_every_distribution_sums_to_one(scale: float) -> None:
    r_a, r_b = torch.tensor([scale, -scale, 0.0]), torch.tensor([-scale, scale, 0.0])
    zero = torch.tensor(0.0)
    for log_p in (
        p.bradley_terry(r_a, r_b),
        p.davidson(r_a, r_b, zero),
        p.label_choice(torch.stack([r_a, r_b], -1)),
        p.verdict(r_a, zero),
        p.ordinal(r_a, torch.tensor([-2.0, 0.0, 3.0])),
    ):
        assert torch.isfinite(log_p).all()
        assert torch.allclose(log_p.exp().sum(-1), torch.ones(3), atol=1e-5)
