"""DQN among the methods: images as episodes of one step, Q-values that become the reward, and the two policies."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.ppo import PPOConfig
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.learning.objective import policy_metrics
from pipeline.models.backbone import Split
from pipeline.run.runtime import generator
from pipeline.tracking.metrics_log import Metrics
from stages.compare.value_baselines import DQN_GREEDY, DQN_SOFTMAX, Images, centred, dqn_config, dqn_policy, q_table

BETA = 0.4
TRAIN = torch.arange(60)  # of 80 images


def test_the_two_policies_by_hand() -> None:
    """Odds of 1 to 1 under the reference, and Q-values beta log 3 apart: odds of 1 to 3. Greedy: the higher one."""
    log_ref, q = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.0, BETA * math.log(3)]])
    assert dqn_policy(q, log_ref, BETA, DQN_SOFTMAX).exp()[0].tolist() == pytest.approx([0.25, 0.75])
    assert dqn_policy(q, log_ref, BETA, DQN_GREEDY).exp()[0].tolist() == [0.0, 1.0]


def test_centred_by_hand() -> None:
    """Mean under (1/4, 3/4) of (1, 5) is 4."""
    assert centred(torch.tensor([[1.0, 5.0]]), torch.tensor([[0.25, 0.75]]))[0].tolist() == [-3.0, 1.0]


def test_the_budget_is_kept() -> None:
    """1,000 images in minibatches of 50, four updates for each image that is tried: 5 steps of 50 images."""
    config = dqn_config(PPOConfig(minibatch_size=50, epochs=4, lr=0.03), 1000)
    assert (config.steps, config.updates, config.minibatch_size, config.lr) == (5, 4, 50, 0.03)
    assert config.buffer == 250
    assert dqn_config(PPOConfig(), 0).steps == 1


def test_images_as_episodes() -> None:
    """Only rows to train on; the reward of the class that was chosen; each step ends the episode."""
    reward = torch.arange(12.0).view(4, 3)
    images = Images(torch.tensor([1, 3]), reward, 500, generator(0))
    rows = images.reset()
    assert set(rows.tolist()) == {1, 3}
    after = images.step(torch.full((500,), 2))
    assert torch.equal(after.reward, 3.0 * rows + 2)
    assert after.terminal.all()
    assert len(after.state) == 500
    assert not torch.equal(after.state, rows)


@pytest.fixture
def problem() -> tuple[SimpleNamespace, Callable[[], tuple[Split, Features]]]:
    """A confident reference and a reward, both by linear heads on the same features; and the reference's network anew."""
    random = generator(5)
    x = torch.randn(80, 6, generator=random)
    ref_head, reward_head = 2 * torch.randn(6, 3, generator=random), torch.randn(6, 3, generator=random)
    log_ref = torch.log_softmax(x @ ref_head, -1)
    reward = centred(x @ reward_head, log_ref.exp())

    def start() -> tuple[Split, Features]:
        head = nn.Linear(6, 3)
        with torch.no_grad():
            head.weight.copy_(ref_head.T)
            head.bias.zero_()
        return Split(head, None, head), Features(None, None, x.numpy(), torch.device("cpu"))  # type: ignore[arg-type]

    def scores(pieces: Split, features: Features) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = pieces.suffix(features.batch(torch.arange(80)))
        return outputs

    ppo = PPOConfig(lr=0.02, minibatch_size=60, epochs=4)
    config = SimpleNamespace(ppo=ppo, seed=0)
    ws = SimpleNamespace(config=config, scores=scores, rows=lambda _: TRAIN)
    return SimpleNamespace(ws=ws, log_ref=log_ref, reward=reward), start


def test_q_becomes_the_reward(
    problem: tuple[SimpleNamespace, Callable[[], tuple[Split, Features]]], tmp_path: Path
) -> None:
    """Also of images that were never tried; so the softmax policy is pi*, and the greedy one takes the best class."""
    environment, start = problem
    with Metrics(tmp_path / "dqn.csv") as metrics:
        q, images = q_table(environment, *start(), images=36_000, metrics=metrics)
    assert images == 36_000
    assert (q - environment.reward).abs().max() < 0.1
    tables = environment.log_ref, environment.reward, BETA
    assert policy_metrics(dqn_policy(q, environment.log_ref, BETA, DQN_SOFTMAX), *tables).attained > 0.999
    best = environment.reward.argmax(-1)
    assert (dqn_policy(q, environment.log_ref, BETA, DQN_GREEDY).argmax(-1) == best).float().mean() > 0.95
    assert metrics.rows[0]["epsilon"] == 1.0
    assert metrics.rows[-1]["loss"] < 0.01 < metrics.rows[0]["loss"]


def test_before_training_the_policy_is_the_reference(
    problem: tuple[SimpleNamespace, Callable[[], tuple[Split, Features]]],
) -> None:
    environment, start = problem
    environment.ws.config.ppo = PPOConfig(lr=1e-12, minibatch_size=60)
    q, _ = q_table(environment, *start(), images=240, metrics=Metrics(None))
    assert q.abs().max() < 1e-4
    assert torch.allclose(dqn_policy(q, environment.log_ref, BETA, DQN_SOFTMAX), environment.log_ref, atol=1e-3)


def test_divergence_is_an_error(problem: tuple[SimpleNamespace, Callable[[], tuple[Split, Features]]]) -> None:
    environment, start = problem
    environment.reward = torch.full_like(environment.reward, math.nan)
    with pytest.raises(UserError, match=r"DQN diverged: its Q-values are NaN or Inf; lower ppo\.lr"):
        q_table(environment, *start(), images=240, metrics=Metrics(None))
