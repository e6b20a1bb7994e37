"""The first lessons of the field as problems that must be learned, by every setting of the one loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import Config
from pipeline.config.ppo import PPOConfig
from pipeline.learning.environment import Inputs
from pipeline.learning.objective import log_optimal_policy, policy_metrics
from pipeline.run.runtime import generator
from pipeline.values.environments import Bandit
from stages.ppo.learner import Learner
from stages.ppo.update import update

PPO = {"epochs": 4, "minibatch_size": 64}
A2C = {"epochs": 1, "clip": None}
REINFORCE = {**A2C, "estimator": "sampled", "surrogate": "score"}


def zeros(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({**PPO, "estimator": "expected"}, 0.995),
        ({**PPO, "estimator": "expected", "penalty": "old"}, 0.995),
        ({**PPO, "estimator": "sampled"}, 0.97),
        pytest.param({**PPO, "estimator": "sampled", "penalty": "old"}, 0.97, marks=pytest.mark.long),
        ({**PPO, "estimator": "critic"}, 0.97),
        ({**A2C, "estimator": "critic"}, 0.95),
        pytest.param({**REINFORCE, "baseline": "mean"}, 0.95, marks=pytest.mark.long),
        ({**REINFORCE, "baseline": "none"}, 0.90),
        ({**REINFORCE, "baseline": "exact", "temperature": 1.5}, 0.95),
    ],
    ids=[
        "ppo",
        "ppo old",
        "ppo sampled",
        "ppo sampled old",
        "ppo critic",
        "a2c",
        "reinforce",
        "reinforce plain",
        "reinforce temperature",
    ],
)
def test_identity_task(train: Callable[..., Tensor], settings: dict[str, Any], least: float) -> None:
    """One-hot images, reward for naming the image; the optimum is known and reached."""
    x = torch.eye(4).repeat(64, 1)
    log_ref = torch.full_like(x, math.log(0.25))
    config = PPOConfig(
        **{"beta": 0.5, "iterations": 80, "lr": 0.02, "target_kl": None, "minibatch_size": 64} | settings
    )
    log_pi = train(zeros(4, 4), x, log_ref, 2 * x - 0.5, config)
    assert policy_metrics(log_pi, log_ref, 2 * x - 0.5, 0.5).attained > least


@pytest.mark.parametrize("estimator", ["sampled", pytest.param("critic", marks=pytest.mark.long)])
def test_four_armed_gaussian_bandit(
    make_learner: Callable[..., Learner], given: Callable[[Tensor], Inputs], estimator: str
) -> None:
    """A softmax policy over four arms whose pulls are noisy: it becomes pi* of the arms' means."""
    means = torch.tensor([0.2, -0.3, 1.0, 0.5])
    x, beta, random = torch.ones(256, 1), 0.4, generator(7)
    log_ref = torch.full((256, 4), math.log(0.25))
    config = PPOConfig(
        estimator=estimator,
        baseline="mean" if estimator == "sampled" else "exact",
        beta=beta,
        iterations=150,
        lr=0.05,
        target_kl=None,
    )
    learner = make_learner(zeros(1, 4), len(x), config)
    for iteration in range(config.iterations):
        learner.set_lr(iteration)
        pulls = means + torch.randn(256, 4, generator=random)
        update(learner, learner.act(given(x), log_ref, pulls))
    made = learner.act(given(x[:1]), log_ref[:1], means[None])
    best = log_optimal_policy(log_ref[:1], means[None], beta).exp()
    assert (made.log_old.exp() - best).abs().max() < 0.06
    assert int(made.log_old.argmax()) == 2


@pytest.mark.parametrize("settings", [A2C, PPO], ids=["a2c", "ppo"])
def test_four_armed_bandit_of_wins_and_losses(
    make_learner: Callable[..., Learner], given: Callable[[Tensor], Inputs], settings: dict[str, Any]
) -> None:
    """+1 if a standard normal draw exceeds the arm's threshold, otherwise -1: the policy becomes pi* of the arms' means."""
    arms, beta, random = Bandit(1, generator(0)), 0.4, generator(9)
    x, log_ref = torch.ones(256, 1), torch.full((256, 4), math.log(0.25))
    config = PPOConfig(
        **{"estimator": "critic", "beta": beta, "iterations": 40, "lr": 0.05, "target_kl": None} | settings
    )
    learner = make_learner(zeros(1, 4), len(x), config)
    for iteration in range(config.iterations):
        learner.set_lr(iteration)
        won = torch.randn(256, 4, generator=random) > arms.thresholds
        update(learner, learner.act(given(x), log_ref, torch.where(won, 1.0, -1.0)))
    means = arms.expected_rewards()[None]
    made = learner.act(given(x[:1]), log_ref[:1], means).log_old.exp()
    assert (made - log_optimal_policy(log_ref[:1], means, beta).exp()).abs().max() < 0.06
    assert int(made.argmax()) == 3


def test_the_critic_learns_the_value(make_learner: Callable[..., Learner], given: Callable[[Tensor], Inputs]) -> None:
    """With a policy that stands still, V(x) becomes the expected reward of each image."""
    x = torch.eye(3).repeat(100, 1)
    reward = torch.tensor([[1.0, 3.0], [0.0, 0.0], [-2.0, 2.0]]).repeat(100, 1)
    log_ref = torch.full((300, 2), math.log(0.5))
    config = PPOConfig(estimator="critic", lr=1e-12, value_lr=0.05, iterations=100, target_kl=None, warmup_fraction=0.0)
    learner = make_learner(zeros(3, 2), len(x), config)
    for iteration in range(100):
        learner.set_lr(iteration)
        update(learner, learner.act(given(x), log_ref, reward))
    learner.policy(x[:3])
    assert learner.critic is not None
    assert learner.critic.value().tolist() == pytest.approx([2.0, 0.0, 0.0], abs=0.15)


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_reaches_the_optimum_for_any_beta(train: Callable[..., Tensor], beta: float) -> None:
    """With a network that can represent pi*: the policy is pi*, and its KL is pi*'s."""
    random = generator(3)
    x = torch.eye(6)
    log_ref = torch.log_softmax(torch.randn(6, 3, generator=random), -1)
    reward = torch.randn(6, 3, generator=random)
    policy = zeros(6, 3)
    with torch.no_grad():
        policy.weight.copy_(log_ref.T)
    config = PPOConfig(beta=beta, iterations=300, lr=0.05, minibatch_size=6, target_kl=None)
    log_pi = train(policy, x, log_ref, reward, config)
    reached = policy_metrics(log_pi, log_ref, reward, beta)
    assert reached.attained > 0.995
    assert reached.kl == pytest.approx(reached.kl_star, rel=0.05)
    assert (log_pi.exp() - log_optimal_policy(log_ref, reward, beta).exp()).abs().max() < 0.05


def test_the_old_policys_penalty_overshoots_where_beta_is_large(train: Callable[..., Tensor]) -> None:
    """One rollout, many steps: the current policy's penalty stops at pi*, the old policy's is stale."""
    x, beta = torch.eye(4), 3.0
    log_ref = torch.full((4, 4), math.log(0.25))
    attained = {}
    for penalty in ("current", "old"):
        config = PPOConfig(penalty=penalty, beta=beta, iterations=1, epochs=200, lr=0.02, clip=None, target_kl=None)
        attained[penalty] = policy_metrics(train(zeros(4, 4), x, log_ref, 2 * x, config), log_ref, 2 * x, beta).attained
    assert attained["current"] > 0.99
    assert attained["old"] < 0


def test_two_classes_of_images(train: Callable[..., Tensor]) -> None:
    """Bars that lie or stand, a small convolutional policy, reward for naming them: new images are named, too."""
    random = generator(11)
    lying = torch.rand(400, generator=random) < 0.5
    phase = torch.randint(0, 4, (400, 1), generator=random)
    wave = ((torch.arange(8)[None] + phase) // 2 % 2).float()
    image = torch.where(lying[:, None, None], wave[:, :, None], wave[:, None, :]).expand(400, 8, 8)
    x = (image + 0.2 * torch.randn(400, 8, 8, generator=random))[:, None]
    reward = torch.stack([lying, ~lying], -1).float() * 2 - 1
    log_ref = torch.full((400, 2), math.log(0.5))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    config = PPOConfig(beta=0.3, iterations=60, lr=0.02, target_kl=None)
    train(policy, x[:300], log_ref[:300], reward[:300], config)
    with torch.no_grad():
        right = policy(x[300:]).argmax(-1) == reward[300:].argmax(-1)
    assert right.float().mean() > 0.95


def test_ptx_holds_on_to_labelled_images(
    make_learner: Callable[..., Learner], given: Callable[[Tensor], Inputs]
) -> None:
    """A reward for the wrong class of one image; PPO-ptx on its label wins or loses by its weight."""
    x = torch.eye(2)
    log_ref, reward = torch.full((2, 2), math.log(0.5)), torch.tensor([[-1.0, 1.0], [0.0, 0.0]])
    chance = {}
    for ptx in (0.0, 3.0):
        config = PPOConfig(beta=0.3, iterations=60, lr=0.05, target_kl=None, ptx=ptx)
        learner = make_learner(zeros(2, 2), 2, config, (torch.tensor([0]), torch.tensor([0])))
        for iteration in range(config.iterations):
            learner.set_lr(iteration)
            update(learner, learner.act(given(x), log_ref, reward))
        chance[ptx] = float(learner.act(given(x), log_ref, reward).log_old[0, 0].exp())
    assert chance[0.0] < 0.05
    assert chance[3.0] > 0.7


def test_entropy_bonus_flattens(train: Callable[..., Tensor]) -> None:
    x = torch.eye(3)
    log_ref = torch.full((3, 3), math.log(1 / 3))
    found = [
        policy_metrics(
            train(
                zeros(3, 3),
                x,
                log_ref,
                2 * x,
                PPOConfig(beta=0.3, iterations=60, lr=0.05, target_kl=None, entropy_bonus=bonus),
            ),
            log_ref,
            2 * x,
            0.3,
        ).entropy
        for bonus in (0.0, 0.5)
    ]
    assert found[1] > found[0] + 0.2


@pytest.mark.parametrize(
    "wrong",
    [
        {"estimator": "expected", "surrogate": "score"},
        {"estimator": "expected", "temperature": 2.0},
        {"estimator": "expected", "baseline": "mean"},
        {"estimator": "critic", "baseline": "none"},
        {"keep": "best_heldout", "kl_target": 0.3},
    ],
)
def test_settings_that_contradict_each_other(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ppo"):
        PPOConfig(**wrong)


def test_every_config_default_is_usable() -> None:
    assert Config.model_validate({"images": {"source": "digits"}}).ppo == PPOConfig()
