"""Networks that learn from their neighbours are trained again on all judgments; what was held out still evaluates them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.config import Config
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.workspace import Workspace, open_workspace
from pipeline.tracking.metrics_log import Metrics
from stages.collect import run as collect
from stages.reference import run as reference
from stages.reward.heldout import heldout_log_loss
from stages.reward.judgment_set import JudgmentSet, read_judgments
from stages.reward.likelihood_parameters import mean_nll
from stages.reward.trained import Trained
from stages.reward.training import train_reward


def trained(config: Config) -> tuple[Workspace, JudgmentSet, Trained]:
    reference.run(config)
    collect.run(config)
    ws = open_workspace(config)
    judgments = read_judgments(ws.run.open_store(), ws.table.position, ws.classes, "supervised")
    return ws, judgments, train_reward(ws, judgments, metrics=Metrics(None), checkpoints=Checkpoints(None, ""))


@pytest.fixture
def made(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> Callable[..., tuple[Workspace, JudgmentSet, Trained]]:
    root = image_folder(classes=3, train=16, test=4)

    def make(**reward: object) -> tuple[Workspace, JudgmentSet, Trained]:
        config = stripes_config(
            root,
            tmp_path / "runs",
            reference={"labelled_per_class": 0},
            collect={"question": "label", "count": 15, "simulated": {"name": "oracle"}},
            reward={"objective": "supervised", "epochs": 4, "curve": [], "unlabelled": "propagate", **reward},
        )
        return trained(config)

    return make


def test_held_out_judgments_are_learned_in_the_end(made: Callable[..., tuple[Workspace, JudgmentSet, Trained]]) -> None:
    ws, judgments, first = made()
    held = first.heldout
    assert 0 < len(held) < len(judgments)
    [after], [before] = first.utilities, first.heldout_utilities
    assert not torch.equal(after, before)
    latent, config = first.members[0].latent, ws.config.reward
    evaluated = heldout_log_loss(before[held.images], held, latent, config, mistakes=True)
    assert evaluated == pytest.approx(first.members[0].log_loss, rel=1e-4), (
        "the card's figures are those of the network that had not seen them"
    )
    assert mean_nll(after[held.images], held, latent) < mean_nll(before[held.images], held, latent)
    _, _, again = made()
    assert torch.equal(again.utilities[0], after), "the same bits every time"


def test_without_neighbours_nothing_is_trained_again(
    made: Callable[..., tuple[Workspace, JudgmentSet, Trained]],
) -> None:
    _, _, first = made(unlabelled="none")
    assert first.utilities is first.heldout_utilities


@pytest.mark.long
def test_every_member_has_a_sample_of_all_judgments(
    made: Callable[..., tuple[Workspace, JudgmentSet, Trained]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[JudgmentSet] = []
    monkeypatch.setattr("stages.reward.refit.train_for", lambda *given, **_: seen.append(given[3]))
    _, judgments, first = made(members=2, epochs=1)
    assert len(first.members) == len(seen) == 2
    assert all(torch.isin(sample.images, judgments.images).all() for sample in seen)
    assert seen[0].images.tolist() != seen[1].images.tolist()
