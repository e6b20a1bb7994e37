"""Rewards in nats: worked out by hand, saved and loaded, beside those of unit scale."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.models.model_file_header import ModelHeader
from pipeline.models.reward_model import RewardModel, share_of

LOG_REF = torch.tensor([[0.5, 0.5], [0.8, 0.2]]).log()
U = torch.tensor([[1.0, 0.0], [0.0, 2.0]])


def model(utilities: list[torch.Tensor], **options: bool) -> RewardModel:
    networks = [nn.Linear(2, 2) for _ in utilities]
    return RewardModel.fitted(networks, utilities, LOG_REF, tie=0.0, pessimism=0.0, nats=True, **options)


def test_one_network() -> None:
    """The utilities themselves, less their mean under the reference: (1 - 0.5, -0.5), (-0.4, 1.6)."""
    rewards = model([U]).rewards([U], LOG_REF)
    assert rewards.numpy() == pytest.approx(torch.tensor([[0.5, -0.5], [-0.4, 1.6]]).numpy(), abs=1e-6)


def test_bayes_rule() -> None:
    """pi_ref e^r is the posterior: 0.8 and 0.2 e^2, normalised."""
    posterior = torch.softmax(LOG_REF + model([U]).rewards([U], LOG_REF), -1)[1]
    assert float(posterior[1]) == pytest.approx(0.2 * math.exp(2) / (0.8 + 0.2 * math.exp(2)), abs=1e-6)


def test_the_reference_counts_once() -> None:
    """Utilities that are log pi_ref, or a half of it, have no reward; what is beside it stays as it is."""
    for share in (1.0, 0.5):
        learned_nothing = RewardModel([nn.Linear(2, 2)], [1.0], 1.0, nats=True, prior_share=share)
        assert learned_nothing.rewards([share * LOG_REF], LOG_REF).abs().max() < 1e-6
    log_ref = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]).log()
    centred = log_ref - log_ref.mean(-1, keepdim=True)
    other = torch.tensor([[centred[0, 1], -centred[0, 0], 0.0], [0.0, 0.0, 0.0]])
    other -= (other * centred).sum() / (centred**2).sum() * centred  # at right angles to the reference
    other -= other.mean(-1, keepdim=True)
    u = 0.7 * log_ref + 2 * other
    made = RewardModel.fitted([nn.Linear(3, 3)], [u], log_ref, tie=0.0, pessimism=0.0, nats=True, from_reference=True)
    assert float(made.prior_share) == pytest.approx(0.7, abs=1e-5)
    rewards = made.rewards([u], log_ref)
    assert (rewards - rewards.mean(-1, keepdim=True)).numpy() == pytest.approx((2 * other).numpy(), abs=1e-5)
    alone = made.judgments_alone([u], log_ref)
    assert (alone - alone.mean(-1, keepdim=True)).numpy() == pytest.approx(
        (u - u.mean(-1, keepdim=True)).numpy(), abs=1e-5
    )


def test_a_uniform_reference_has_no_share() -> None:
    uniform = torch.full((2, 2), 0.5).log()
    assert share_of(uniform, U) == 0
    assert share_of(LOG_REF, -LOG_REF) == 0, "never less than nothing"


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    """One member is sure of the first class, one of the second: together they know nothing, and no utility is large."""
    sure = torch.tensor([[20.0, 0.0], [20.0, 0.0]])
    ensemble = RewardModel([nn.Linear(2, 2), nn.Linear(2, 2)], [1.0, 1.0], 1.0, nats=True)
    assert ensemble.rewards([sure, sure.flip(1)], LOG_REF).abs().max() < 1e-6
    third = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    mixed = model([sure, third]).rewards([sure, third], LOG_REF)[0]
    assert float(mixed[0] - mixed[1]) == pytest.approx(math.log(0.75 / 0.25), abs=1e-5)


def test_saved_and_loaded(tmp_path: Path) -> None:
    from pipeline.config import ModelConfig
    from pipeline.models.backbone import build_network

    network = build_network(ModelConfig(backbone="tiny", weights="none"), 2, seed=0)
    u = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    for start in (False, True):
        made = RewardModel.fitted([network], [u], LOG_REF, tie=0.0, pessimism=0.0, nats=True, from_reference=start)
        made.save(tmp_path / "model.safetensors", ModelHeader("reward", "tiny", ("a", "b"), 16, 16))
        loaded, _ = RewardModel.load(tmp_path / "model.safetensors")
        assert bool(loaded.nats)
        assert (float(loaded.prior_share) > 0) == start
        assert torch.equal(loaded.rewards([u], LOG_REF), made.rewards([u], LOG_REF))


def test_utilities_that_are_all_equal_have_no_scale() -> None:
    assert not float(model([torch.ones(2, 2)]).scale) > 0
