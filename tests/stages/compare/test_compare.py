"""The comparison: rivals that must reach the same optimum, and the command as a user types it."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn.functional import cross_entropy

from pipeline.config import Config, dump_config
from pipeline.learning.objective import log_optimal_policy, policy_metrics
from pipeline.models.backbone import Split
from pipeline.models.policy import log_policy
from pipeline.run.atomic_files import read_json, write_atomically
from pipeline.run.runtime import generator
from stages.cli import main
from stages.compare.report import conclusion, frontier_plot, paired
from stages.compare.results import _is_cached
from stages.compare.run import saved_teacher, seeded
from stages.compare.trained_baselines import ImplicitReward, dpo_pieces


def test_dpo_reaches_the_same_optimum() -> None:
    """From the very utilities PPO would be given (as exact label-choice probabilities), DPO's policy is pi*."""
    x, beta, scale = torch.eye(6), 0.4, 1.7
    random = generator(1)
    log_ref, utility = torch.log_softmax(torch.randn(6, 3, generator=random), -1), torch.randn(6, 3, generator=random)
    policy = nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        policy.weight.copy_(log_ref.T)
    pieces = dpo_pieces(Split(policy, None, policy), beta * scale)
    target = torch.softmax(utility, -1)  # what people answer to "which class?"
    optimiser = torch.optim.Adam([p for p in pieces.suffix.parameters() if p.requires_grad], 0.05)
    for _ in range(1500):
        loss = cross_entropy(pieces.suffix(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    found = log_policy(policy(x)).detach()
    best = log_optimal_policy(log_ref, utility / scale, beta)
    assert torch.allclose(found.exp(), best.exp(), atol=5e-3)
    assert policy_metrics(found, log_ref, utility / scale, beta).attained > 0.999


def test_the_implicit_reward_keeps_its_reference_frozen() -> None:
    policy = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 3))
    implicit = dpo_pieces(Split(policy, None, policy), 0.5).suffix
    assert isinstance(implicit, ImplicitReward)
    before = {name: value.clone() for name, value in implicit.reference.state_dict().items()}
    implicit.train()
    implicit(3 + torch.randn(32, 4)).sum().backward()
    assert not implicit.reference.training
    assert all(torch.equal(value, before[name]) for name, value in implicit.reference.state_dict().items())
    assert all(p.grad is None for p in implicit.reference.parameters())
    assert not torch.equal(policy[0].running_mean, before["0.running_mean"])
    assert len(list(filter(lambda p: p.requires_grad, implicit.parameters()))) == 4


@pytest.mark.draws
@pytest.mark.long
def test_make_compare(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]) -> None:
    """All methods on two seeds; again, nothing is trained; the table, the CSVs, the plot and the words are there."""
    config = stripes_config(
        image_folder(classes=3, train=30, test=12),
        tmp_path / "runs",
        model={"backbone": "tiny"},
        ppo={"iterations": 3, "batch_size": 60},
        reward={"epochs": 3},
    )
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    runner = CliRunner()
    made = runner.invoke(main, ["compare", "--config", str(file), "--seeds", "2"])
    assert made.exit_code == 0, made.output
    assert "Is PPO worth it here?" in made.output
    folder = tmp_path / "runs" / "default" / "compare"
    frame = pd.read_csv(folder / "seeds.csv")
    names = [
        "reference",
        "supervised",
        "supervised, as many images as PPO",
        "argmax of the reward",
        "pi*",
        "best-of-n",
        "distillation of pi*",
        "DPO",
        "A2C",
        "REINFORCE",
        "PPO, sampled",
        "PPO from the reference",
        "PPO from the reward model",
        "PPO, beta auto",
        "DQN, greedy",
        "DQN, softmax",
        "PPO, expected",
    ]
    assert frame["method"].tolist() == names * 2
    assert frame["seed"].tolist() == [0] * 17 + [1] * 17
    by = frame.set_index(["method", "seed"])
    assert by.loc[("reference", 0), "attained"] == pytest.approx(0, abs=1e-9)
    assert by.loc[("pi*", 1), "attained"] == pytest.approx(1)
    assert (frame["attained"] <= 1 + 1e-6).all()
    images = by.xs(0, level="seed")["images"]
    judged = 0.8 * 60  # a supervised epoch
    assert abs(images["supervised, as many images as PPO"] - images["PPO, expected"]) <= judged
    assert by.loc[("PPO, beta auto", 0), "beta"] != by.loc[("PPO, expected", 0), "beta"]
    assert abs(images["A2C"] - images["PPO, expected"]) <= 60
    assert images["DQN, greedy"] == images["DQN, softmax"]
    assert abs(images["DQN, softmax"] - images["PPO, expected"]) <= 60
    assert images["distillation of pi*"] == images["A2C"]
    assert all(f"| {name}" in made.output for name in names)
    assert (folder / "frontier.svg").read_text().startswith("<svg")
    made_at = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*-s?/compare/*.json")}
    assert len(made_at) == 2 * len(names)
    assert runner.invoke(main, ["compare", "--config", str(file), "--seeds", "2"]).exit_code == 0
    assert all(path.stat().st_mtime_ns == then for path, then in made_at.items()), "what was made is not made again"
    assert pd.read_csv(folder / "seeds.csv").equals(frame)


@pytest.mark.long
def test_the_table_has_the_beta_in_force_at_ppos_end(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> None:
    """With `kl_target` beta adapts: the table's figures of PPO are those of its stage, and pi* is that beta's optimum."""
    config = stripes_config(
        image_folder(classes=3, train=20, test=6),
        tmp_path / "runs",
        model={"backbone": "mobilenet_v3_small"},
        ppo={"beta": 0.3, "iterations": 4, "kl_target": 2.0, "kl_horizon": 20},
        reward={"epochs": 3},
    )
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    command = ["compare", "--config", str(file), "--seeds", "1", "--only", "pi*", "--only", "PPO, expected"]
    made = CliRunner().invoke(main, command)
    assert made.exit_code == 0, made.output
    rows = pd.read_csv(tmp_path / "runs" / "default" / "compare" / "seeds.csv").set_index("method")
    own = seeded(config, 0)
    importlib.import_module("stages.ppo.run").run(own, force=True)
    policy = read_json(own.runs / own.name / "ppo" / "result.json")["policy"]
    assert policy["beta"] < 0.2, "it moved"
    assert rows.loc["PPO, expected", "beta"] == pytest.approx(policy["beta"])
    assert rows.loc["PPO, expected", "attained"] == pytest.approx(policy["attained"], abs=1e-6)
    assert rows.loc["pi*", "attained"] == pytest.approx(1)
    assert f"beta at the end of PPO {policy['beta']:.3f}" in made.output


def test_an_unknown_method(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> None:
    config = stripes_config(image_folder(), tmp_path / "runs", reference={"epochs": 1}, reward={"epochs": 1})
    (tmp_path / "c.yaml").write_text(dump_config(config))
    made = CliRunner().invoke(main, ["compare", "--config", str(tmp_path / "c.yaml"), "--seeds", "1", "--only", "TRPO"])
    assert made.exit_code == 2
    assert "unknown method 'TRPO'; choose from: reference; supervised" in made.output


def test_who_was_asked_is_known_to_the_collect_stage(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> None:
    """`make collect` asks people whatever the configuration says; compare must go by what was done."""
    config = stripes_config(image_folder(), tmp_path / "runs")
    assert saved_teacher(config) == "simulated"
    kept = config.model_copy(update={"collect": config.collect.model_copy(update={"teacher": "people"})})
    write_atomically(config.runs / config.name / "collect" / "config.yaml", dump_config(kept).encode())
    assert saved_teacher(config) == "people"
    own = seeded(config, 3)
    assert own.collect.folder == config.runs / config.name / "feedback", (
        "people's judgments are the same for every seed"
    )


def table(**accuracy: list[float]) -> pd.DataFrame:
    rows = [
        {"method": name, "seed": seed, "accuracy": value, "seconds": 2.0, "KL": 0.1 * seed}
        for name, values in accuracy.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows).replace({"method": {"ppo": "PPO, expected", "argmax": "argmax of the reward"}})


def test_words_follow_the_figures() -> None:
    """Ahead of both rivals: yes. Behind one: no. Intervals that cross zero: not significant."""
    better = table(ppo=[0.9, 0.91, 0.92], supervised=[0.8, 0.81, 0.82], argmax=[0.85, 0.86, 0.87])
    assert "Yes: neither" in conclusion(better)
    assert "+10.0 points" in conclusion(better)
    worse = table(ppo=[0.8, 0.81, 0.82], supervised=[0.9, 0.91, 0.93], argmax=[0.7, 0.7, 0.7])
    assert "No: supervised is more accurate" in conclusion(worse)
    close = table(ppo=[0.8, 0.9, 0.7], supervised=[0.9, 0.8, 0.7])
    assert "No difference is significant" in conclusion(close)
    with_dpo = table(
        ppo=[0.9, 0.91, 0.92], supervised=[0.8, 0.81, 0.82], argmax=[0.85, 0.86, 0.87], DPO=[0.9, 0.92, 0.9]
    )
    assert "Yes" not in conclusion(with_dpo)
    assert "its difference to DPO is not significant" in conclusion(with_dpo)
    assert "nothing to compare it with" in conclusion(table(DPO=[0.9, 0.8]))
    assert "no baseline" in conclusion(table(ppo=[0.9, 0.8]))
    alone = table(ppo=[0.9], supervised=[0.5])
    assert "No difference is significant" in conclusion(alone), "one seed shows nothing"
    assert "no accuracy to compare" in conclusion(table(ppo=[math.nan], supervised=[math.nan]))
    assert paired(better, "PPO, expected", "supervised", "accuracy").tolist() == pytest.approx([0.1, 0.1, 0.1])


@pytest.mark.draws
def test_the_plot_without_known_classes_is_drawn(tmp_path: Path) -> None:
    curve = pd.DataFrame({"curve": ["pi*"], "at": [1.0], "seed": [0], "accuracy": [np.nan], "KL": [0.1]})
    assert frontier_plot(table(ppo=[math.nan]), curve).startswith("<svg")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"method": "PPO, expected"}'])
def test_a_damaged_row_is_made_again(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is asked for by what it was made of; one that cannot be read is as good as none, and named."""
    file = tmp_path / "row.json"
    assert not _is_cached(file)
    assert not caplog.records
    file.write_text(text)
    assert not _is_cached(file)
    assert f"{file} is damaged (" in caplog.text
    assert caplog.records[0].levelname == "WARNING"
    names = ("method", "seed", "images", "accuracy", "attained", "seconds")
    file.write_text(json.dumps(dict.fromkeys(names, 1)))
    assert _is_cached(file)
    assert not _is_cached(file, "beta"), "a row of an earlier version, where beta adapts"
