"""Weak-to-strong consistency: thresholds by hand, views, and the choice between methods."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.judgment_sets import LABEL, judgment_set
from torch import nn

from pipeline.config import Config, RewardConfig
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json
from stages.collect.run import run as collect
from stages.reference.run import run as reference
from stages.reward import run as reward
from stages.reward.consistency import Consistency
from stages.reward.heldout import heldout_log_loss
from stages.reward.likelihood_parameters import LikelihoodParameters
from stages.reward.teaching import methods


class FewPixels:
    """Four grey images of 8 pixels."""

    def __len__(self) -> int:
        return 4

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        values = torch.from_numpy(np.linspace(40, 200, 4).astype(np.uint8))
        return values[rows][:, None, None, None].expand(-1, 8, 8, 3).contiguous()


def made(member: int = 0) -> Consistency:
    features = Features(FewPixels(), None, None, torch.device("cpu"))  # type: ignore[arg-type]
    return Consistency(features, torch.arange(4), 2, 0).of_member(member)


class Brightness(nn.Module):
    """Utilities that grow and fall with the mean of the image; counts its calls."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, -mean], 1)


def test_thresholds_by_hand() -> None:
    """At first 1/2 for both; after a batch of confidence 0.9 and mean probabilities (0.9, 0.1) they move by 1 %."""
    consistency = made()
    assert consistency.thresholds().tolist() == pytest.approx([0.5, 0.5])
    utilities = torch.log(torch.tensor([[0.9, 0.1], [0.9, 0.1]]))
    consistency.loss(Brightness(), utilities, torch.tensor([0, 1]), torch.tensor([0, 1]))
    confidence, of_class = 0.99 * 0.5 + 0.01 * 0.9, (0.99 * 0.5 + 0.01 * 0.9, 0.99 * 0.5 + 0.01 * 0.1)
    expected = [confidence, confidence * of_class[1] / of_class[0]]
    assert consistency.thresholds().tolist() == pytest.approx(expected, abs=1e-6)


def test_only_confident_predictions_teach() -> None:
    """Of three images the second is undecided: its loss is 0, the others' is the cross-entropy of their changed views."""
    consistency, network = made(), Brightness()
    consistency.confidence = torch.tensor(0.8)
    utilities = torch.log(torch.tensor([[0.95, 0.05], [0.5, 0.5], [0.1, 0.9], [0.5, 0.5]]))
    loss = consistency.loss(network, utilities, torch.arange(4), torch.tensor([0, 1, 2]))
    assert network.calls == 1
    again = made()
    views = again.strong_views(torch.tensor([0, 2]))
    expected = nn.functional.cross_entropy(Brightness()(views), torch.tensor([0, 1]), reduction="none")
    assert loss.tolist() == pytest.approx([float(expected[0]), 0.0, float(expected[1])], abs=1e-6)


def test_nothing_confident_teaches_nothing() -> None:
    consistency, network = made(), Brightness()
    consistency.confidence = torch.tensor(0.9)
    loss = consistency.loss(network, torch.zeros(4, 2), torch.arange(4), torch.arange(4))
    assert network.calls == 0
    assert loss.tolist() == [0.0] * 4


def test_a_batch_without_judgments_and_confidence_has_a_gradient() -> None:
    consistency, utilities = made(), torch.zeros(4, 2, requires_grad=True)
    consistency.confidence = torch.tensor(0.9)
    consistency.loss(Brightness(), utilities, torch.arange(4), torch.arange(4)).sum().backward()
    assert utilities.grad is not None
    assert not utilities.grad.any()


def test_members_have_views_of_their_own_and_resume() -> None:
    rows = torch.arange(4)
    first, second = made(0), made(1)
    state = first.state_dict()
    views = first.strong_views(rows)
    assert not torch.equal(views, second.strong_views(rows))
    second.load_state_dict(state)
    assert torch.equal(views, second.strong_views(rows))
    assert not torch.equal(views, first.strong_views(rows)), "the next views are others"


def test_views_leave_the_global_stream_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    made().strong_views(torch.arange(4))
    assert torch.equal(torch.rand(2), expected)


@pytest.fixture
def answered(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> Callable[..., Config]:
    """A run with twelve answers about sixty images."""

    def make(trainable: str, unlabelled: str) -> Config:
        config = stripes_config(
            image_folder(classes=3, train=20, test=20),
            tmp_path,
            images={"augment": {"shift": 1}},
            model={"trainable": trainable},
            reference={"labelled_per_class": 0},
            collect={"question": "label", "count": 12, "strategy": "typical", "simulated": {"name": "oracle"}},
            reward={"objective": "supervised", "start": "backbone", "unlabelled": unlabelled, "epochs": 2, "curve": []},
        )
        reference(config)
        collect(config)
        return config

    return make


def test_consistency_needs_a_network_without_a_frozen_part(answered: Callable[..., Config]) -> None:
    with pytest.raises(UserError, match=r"reward\.unlabelled: consistency changes images"):
        reward.run(answered("head", "consistency"))


@pytest.mark.parametrize(
    ("trainable", "unlabelled"),
    [("all", "consistency"), *(pytest.param(part, "auto", marks=pytest.mark.long) for part in ("all", "head"))],
)
def test_what_was_used_is_on_the_card(answered: Callable[..., Config], trainable: str, unlabelled: str) -> None:
    config = answered(trainable, unlabelled)
    assert reward.run(config)
    used = read_json(config.runs / config.name / "reward" / "card.json")["settings"]["unlabelled"]
    assert used == unlabelled if unlabelled != "auto" else set(used.split("+")) <= {"balance", *methods.names()}


def test_mistakes_among_held_out_judgments() -> None:
    """Nine right answers and a wrong one: with mistakes modelled, a network that is surer is better, without it is worse."""
    kind, rows, zero = torch.full((10,), LABEL), torch.arange(10), torch.zeros(10, dtype=torch.long)
    answer = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 0])
    truth = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    heldout, config = judgment_set(kind, (rows, rows), (zero, zero), answer), RewardConfig()
    latent = LikelihoodParameters(heldout, config)
    doubtful, sure = (scale * nn.functional.one_hot(truth, 3).float() for scale in (2.0, 12.0))
    losses = {
        mistakes: [heldout_log_loss(u, heldout, latent, config, mistakes=mistakes) for u in (doubtful, sure)]
        for mistakes in (False, True)
    }
    assert losses[False][0] < losses[False][1]
    assert losses[True][0] > losses[True][1]
