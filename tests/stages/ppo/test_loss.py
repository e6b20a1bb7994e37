"""PPO's loss and controller by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pipeline.errors import UserError
from stages.ppo.kl_controller import KLController
from stages.ppo.loss import approx_kl, clip_fraction, expected_surrogate, sampled_surrogate
from stages.ppo.update import check_ratio


def test_clipping_by_hand() -> None:
    """The corners of PPO's figure 1: only moves that already went too far in the good direction stop counting."""
    ratio, advantage = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1]), torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    two = torch.full((5, 2), 0.5).log()
    new = two + torch.stack([ratio.log(), torch.zeros(5)], -1)
    both = torch.stack([advantage, torch.full((5,), 99.0)], -1)
    assert sampled_surrogate(new[:, 0], two[:, 0], both[:, 0], 0.2).tolist() == pytest.approx(
        [1.2, -1.5, 0.5, -0.8, 2.2]
    )
    assert sampled_surrogate(new[:, 0], two[:, 0], both[:, 0], None).tolist() == pytest.approx(
        [1.5, -1.5, 0.5, -0.5, 2.2]
    )


def test_underflow_makes_no_nan() -> None:
    """pi_old(a) = 0 in float32 and a ratio beyond its range: finite loss, finite gradient."""
    old = torch.tensor([[0.0, -300.0]])
    logits = torch.tensor([[0.0, 5.0]], requires_grad=True)
    new = torch.log_softmax(logits, -1)
    advantage = torch.tensor([[1.0, -400.0]])
    value = expected_surrogate(new, old, advantage, 0.2).sum() + approx_kl(new, old).sum()
    value.backward()
    assert logits.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(clip_fraction(new, old, 1.5)).all()


def test_surrogate_and_diagnostics_by_hand() -> None:
    old, new = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    advantage = torch.tensor([[1.0, -1.0]])
    assert expected_surrogate(new, old, advantage, 0.2).item() == pytest.approx(0.5 * 1.2 - 0.5 * 0.8)
    assert approx_kl(new, old).item() == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert clip_fraction(new, old, 0.2).item() == pytest.approx(1.0)
    assert clip_fraction(new, old, 0.6).item() == pytest.approx(0.0)
    assert clip_fraction(new, old, None).item() == 0.0
    assert expected_surrogate(new, old, advantage, None).item() == pytest.approx(0.75 - 0.25)


def test_a_clipped_class_has_no_gradient() -> None:
    logits = torch.tensor([[0.6, -0.6]], requires_grad=True)
    old = torch.tensor([[0.5, 0.5]]).log()
    expected_surrogate(torch.log_softmax(logits, -1), old, torch.tensor([[1.0, -1.0]]), 0.2).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_ratio_guard() -> None:
    log_p = torch.log_softmax(torch.randn(8, 3), -1)
    check_ratio(log_p, log_p.clone())
    with pytest.raises(UserError, match="train mode"):
        check_ratio(log_p, log_p + 1e-3)
    with pytest.raises(UserError):
        check_ratio(log_p, log_p * math.nan)


def test_controller() -> None:
    """Ziegler et al. 2019: in proportion to the relative error, at most 20 % of n / horizon a step."""
    start = KLController(0.5, target=2.0, horizon=1000)
    assert start.after(2.2, 100).beta == pytest.approx(0.5 * (1 + 0.1 * 0.1))
    assert start.after(20.0, 100).beta == pytest.approx(0.5 * (1 + 0.2 * 0.1))
    assert start.after(0.0, 100).beta == pytest.approx(0.5 * (1 - 0.2 * 0.1))
    assert KLController(0.5, None, 1000).after(9.0, 100).beta == 0.5
