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
    rewards = model([U]).rewards([U], LOG_REF, 1.0)
    assert rewards.numpy() == pytest.approx(torch.tensor([[0.5, -0.5], [-0.4, 1.6]]).numpy(), abs=1e-6)


def test_bayes_rule() -> None:
    """pi_ref e^r is the posterior: 0.8 and 0.2 e^2, normalised."""
    posterior = torch.softmax(LOG_REF + model([U]).rewards([U], LOG_REF, 1.0), -1)[1]
    assert float(posterior[1]) == pytest.approx(0.2 * math.exp(2) / (0.8 + 0.2 * math.exp(2)), abs=1e-6)


@pytest.mark.parametrize("weight", [1.0, 0.25, 0.0])
@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_the_weight_of_the_reference(weight: float, beta: float) -> None:
    """pi_ref e^{r / beta} is pi_ref^weight e^{u / beta}, whatever beta is."""
    made = RewardModel([nn.Linear(2, 2)], [1.0], 1.0, nats=True, prior_weight=weight)
    rewards = made.rewards([U], LOG_REF, beta)
    optimum = torch.softmax(LOG_REF + rewards / beta, -1)
    assert optimum.numpy() == pytest.approx(torch.softmax(weight * LOG_REF + U / beta, -1).numpy(), abs=1e-6)
    assert (LOG_REF.exp() * rewards).sum(-1).abs().max() < 1e-6
    assert torch.equal(made.utilities([U], LOG_REF), model([U]).utilities([U], LOG_REF))


def test_the_reference_in_utilities() -> None:
    """The slope of least squares, by hand: 0.7 times it, and something at right angles to it."""
    log_ref = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]).log()
    centred = log_ref - log_ref.mean(-1, keepdim=True)
    other = torch.tensor([[centred[0, 1], -centred[0, 0], 0.0], [0.0, 0.0, 0.0]])
    other -= other.mean(-1, keepdim=True)
    other -= (other * centred).sum() / (centred**2).sum() * centred
    assert share_of(log_ref, 0.7 * log_ref + 2 * other) == pytest.approx(0.7, abs=1e-6)


def test_a_uniform_reference_has_no_share() -> None:
    uniform = torch.full((2, 2), 0.5).log()
    assert share_of(uniform, U) == 0
    assert share_of(LOG_REF, -LOG_REF) == 0, "never less than nothing"


def test_an_ensemble_is_the_mean_of_probabilities() -> None:
    """One member is sure of the first class, one of the second: together they know nothing, and no utility is large."""
    sure = torch.tensor([[20.0, 0.0], [20.0, 0.0]])
    ensemble = RewardModel([nn.Linear(2, 2), nn.Linear(2, 2)], [1.0, 1.0], 1.0, nats=True)
    assert ensemble.rewards([sure, sure.flip(1)], LOG_REF, 1.0).abs().max() < 1e-6
    third = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    mixed = model([sure, third]).rewards([sure, third], LOG_REF, 1.0)[0]
    assert float(mixed[0] - mixed[1]) == pytest.approx(math.log(0.75 / 0.25), abs=1e-5)


def test_saved_and_loaded(tmp_path: Path) -> None:
    from pipeline.config import ModelConfig
    from pipeline.models.backbone import build_network

    network = build_network(ModelConfig(backbone="tiny", weights="none"), 2, seed=0)
    made = RewardModel([network], [1.0], 1.0, nats=True, prior_weight=0.5)
    made.save(tmp_path / "model.safetensors", ModelHeader("reward", "tiny", ("a", "b"), 16, 16))
    loaded, _ = RewardModel.load(tmp_path / "model.safetensors")
    assert (bool(loaded.nats), float(loaded.prior_weight)) == (True, 0.5)
    assert torch.equal(loaded.rewards([U], LOG_REF, 0.7), made.rewards([U], LOG_REF, 0.7))


def test_utilities_that_are_all_equal_have_no_scale() -> None:
    assert not float(model([torch.ones(2, 2)]).scale) > 0
