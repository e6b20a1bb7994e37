"""The reference's linear head, fitted exactly: calibrated, the same again, and only where a head is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from pipeline.config import Config, parse_config
from pipeline.errors import UserError
from pipeline.learning.linear_heads import PRIOR_SDS, USUAL_SD, penalty_of_prior_sd
from pipeline.models.policy import final_linear
from pipeline.run.atomic_files import read_json
from pipeline.run.workspace import Workspace, open_workspace
from stages.reference.exact_head import heldout_utilities
from stages.reference.run import run


@pytest.fixture
def configured(
    image_folder: Callable[..., Path], stripes_config: Callable[..., Config], tmp_path: Path
) -> Callable[..., Config]:
    root = image_folder()

    def make(trainable: str = "head", **reference: Any) -> Config:
        tree = stripes_config(root, tmp_path / "runs", model={"trainable": trainable}).model_dump(mode="json")
        tree["reference"] |= {"labelled_per_class": 4} | reference
        return parse_config(tree, "test")

    return make


def head_of(config: Config) -> torch.Tensor:
    network = open_workspace(config).load_policy(config.runs / config.name / "reference" / "model.safetensors")
    return final_linear(network).weight.detach()


def metrics_of(config: Config) -> pd.DataFrame:
    return pd.read_csv(config.runs / config.name / "reference" / "metrics.csv")


def test_folds_choose_the_prior_and_no_temperature_is_needed(configured: Callable[..., Config]) -> None:
    config = configured(calibration_folds=4)
    assert run(config)
    result = read_json(config.runs / config.name / "reference" / "result.json")["reference"]
    assert result["accuracy"] > 0.8, "stripes and chequerboards, by features of random weights"
    assert result["temperature"] == 1.0
    rows = metrics_of(config)
    assert list(rows["prior_sd"]) == list(PRIOR_SDS)
    penalties = [penalty_of_prior_sd(sd) / 8 for sd in PRIOR_SDS]  # eight labelled images
    assert (rows["score"] - rows["heldout_log_loss"]).tolist() == pytest.approx(penalties, abs=1e-4)
    before = head_of(config)
    best = configured(calibration_folds=4, prior_sd=float(rows["prior_sd"][rows["score"].argmin()]))
    assert run(best), "another setting"
    assert torch.equal(before, head_of(best)), "folds chose this one"
    assert run(config)
    assert not run(config), "up to date"
    assert run(config, force=True)
    assert torch.equal(before, head_of(config))


def test_a_fixed_prior_decides_how_sure_it_is(configured: Callable[..., Config]) -> None:
    norms = []
    for sd in (0.3, 3.0):
        config = configured(prior_sd=sd)
        run(config)
        assert list(metrics_of(config)["prior_sd"]) == [sd]
        norms.append(float(head_of(config).norm()))
    assert norms[0] < norms[1] / 3


def test_one_image_of_a_class_leaves_nothing_to_hold_out(configured: Callable[..., Config]) -> None:
    config = configured(labelled_per_class=1)
    run(config)
    rows = metrics_of(config)
    assert list(rows["prior_sd"]) == [USUAL_SD]
    assert rows["heldout_log_loss"].isna().all()


def test_a_network_is_trained_by_steps(configured: Callable[..., Config]) -> None:
    config = configured(optimiser="adamw", epochs=2)
    run(config)
    assert list(metrics_of(config)["epoch"]) == [1, 2]
    with pytest.raises(
        UserError, match=r"reference\.optimiser: lbfgs fits linear heads, and model\.trainable is 'all'"
    ):
        run(configured("all", optimiser="lbfgs"))


def test_a_head_that_knew_too_surely_gets_a_temperature(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A zero-shot head that is very sure, and often wrong: the prior draws toward it, and only a temperature helps."""
    import stages.reference.run as stage

    original = stage.initial_network

    def sure(ws: Workspace) -> Any:
        pieces, features = original(ws)
        weight = final_linear(pieces.network).weight
        with torch.no_grad():
            weight.normal_(std=20, generator=torch.Generator().manual_seed(0))
        return pieces, features

    monkeypatch.setattr(stage, "initial_network", sure)
    config = configured(calibration_folds=4, prior_sd=0.3)
    assert run(config)
    result = read_json(config.runs / config.name / "reference" / "result.json")["reference"]
    assert result["temperature"] > 2
    assert float(head_of(config).std()) == pytest.approx(20 / result["temperature"], rel=0.2)


def test_held_out_images_keep_what_the_head_knew() -> None:
    """A prior that allows no change: the utilities are the initial ones."""
    z, initial = torch.randn(4, 3, dtype=torch.double), torch.randn(4, 2, dtype=torch.double)
    folds = [torch.tensor([True, False, False, True]), torch.tensor([False, True, True, False])]
    found = heldout_utilities(z, initial, torch.tensor([0, 1, 0, 1]), folds, 1e-4)
    assert torch.allclose(found, initial, atol=1e-3)


def test_features_that_are_no_numbers_are_named(
    configured: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    import stages.reference.exact_head as stage

    original = stage.head_inputs
    monkeypatch.setattr(stage, "head_inputs", lambda features, rows: original(features, rows) / 0)
    with pytest.raises(UserError, match=r"model\.backbone: \w+ computes NaN or Inf"):
        run(configured(prior_sd=1.0))
