"""Rewards in nats: worked out by hand, saved and loaded, beside those of unit scale."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.models.model_file_header import ModelHeader
from pipeline.models.reward_model import RewardModel

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
    """A network that was trained from the reference and learned nothing has no reward; one that learned is the posterior."""
    assert model([U], relative=True).rewards([LOG_REF], LOG_REF).abs().max() < 1e-6
    posterior = torch.softmax(LOG_REF + model([U], relative=True).rewards([U], LOG_REF), -1)
    assert posterior.numpy() == pytest.approx(torch.softmax(U, -1).numpy(), abs=1e-6)


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
    for relative in (False, True):
        made = RewardModel.fitted([network], [U], LOG_REF, tie=0.0, pessimism=0.0, nats=True, relative=relative)
        made.save(tmp_path / "model.safetensors", ModelHeader("reward", "tiny", ("a", "b"), 16, 16))
        loaded, _ = RewardModel.load(tmp_path / "model.safetensors")
        assert (bool(loaded.nats), bool(loaded.relative)) == (True, relative)
        assert torch.equal(loaded.rewards([U], LOG_REF), made.rewards([U], LOG_REF))


def test_utilities_that_are_all_equal_have_no_scale() -> None:
    assert not float(model([torch.ones(2, 2)]).scale) > 0
