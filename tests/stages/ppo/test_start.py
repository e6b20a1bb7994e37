"""Where PPO starts: the reward model's head is the optimum itself, and `auto` takes the higher objective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.config import Config, parse_config
from pipeline.learning.environment import Environment
from pipeline.run.workspace import open_workspace
from stages.cli import STAGES


def prepared(config: Config) -> Environment:
    """Reference, judgments and reward model of a configuration."""
    import importlib

    for _, module, _ in STAGES[:3]:
        importlib.import_module(module).run(config)
    return Environment.open(open_workspace(config))


@pytest.fixture
def environment_of(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> Callable[..., Environment]:
    root = image_folder()

    def make(trainable: str, start: str, **ppo: Any) -> Environment:
        config = stripes_config(root, tmp_path / "runs", model={"trainable": trainable})
        tree = config.model_dump(mode="json")
        tree["reward"] |= {"start": start, "curve": []} | ({"lr": 0.1} if trainable == "head" else {})
        tree["ppo"] |= {"beta": 0.7} | ppo
        return prepared(parse_config(tree, "test"))

    return make


@pytest.mark.parametrize("start", ["reference", pytest.param("backbone", marks=pytest.mark.long)])
def test_with_a_head_the_start_is_the_optimum(environment_of: Callable[..., Environment], start: str) -> None:
    from pipeline.learning.objective import policy_metrics
    from stages.ppo.start import choose_start

    environment = environment_of("head", start)
    chosen = choose_start(environment)
    rows = environment.ws.rows("train")
    exact = policy_metrics(environment.log_ref[rows], environment.log_ref[rows], environment.reward[rows], 0.7)
    assert chosen.name == "reward"
    assert pytest.approx(exact.J_star, abs=1e-5) == chosen.J
    assert exact.J_ref < exact.J_star - 1e-3


@pytest.mark.parametrize("start", ["reference", "backbone"])
def test_auto_takes_the_higher_objective(environment_of: Callable[..., Environment], start: str) -> None:
    from dataclasses import replace

    from stages.ppo.start import choose_start

    environment = environment_of("all", start)
    tree = environment.ws.config.model_dump(mode="json")
    found = {}
    for wanted in ("reference", "reward", "auto"):
        tree["ppo"]["start"] = wanted
        ws = replace(environment.ws, config=parse_config(tree, "test"))
        found[wanted] = choose_start(replace(environment, ws=ws))
    assert pytest.approx(0, abs=1e-6) == found["reference"].J, "centred rewards, and no KL to itself"
    assert max(found["reference"].J, found["reward"].J) == found["auto"].J
    hashes = environment.hashes
    environment.check_frozen()
    assert hashes == environment.hashes
    with torch.no_grad():
        for parameter in found["reference"].pieces.suffix.parameters():
            parameter.add_(1.0)
    environment.check_frozen()  # the policy is a copy
