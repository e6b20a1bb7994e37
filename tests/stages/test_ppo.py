"""PPO: the loss by hand, the guard, the controller, and problems it must solve."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import Config, PPOConfig
from pipeline.errors import UserError
from pipeline.models.policy import log_policy
from pipeline.objective import log_optimal_policy, standing
from pipeline.optim import adamw
from pipeline.runtime import Runtime, generator
from stages.ppo.batchnorm import refresh_batchnorm
from stages.ppo.kl_controller import KLController
from stages.ppo.loss import approx_kl, clip_fraction, expected_surrogate, sampled_surrogate
from stages.ppo.rollout import make_rollout
from stages.ppo.run import check_ratio, update

ONE = Runtime(torch.device("cpu"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_clipping_by_hand() -> None:
    """The corners of PPO's figure 1: only moves that already went too far in the good direction stop counting."""
    ratio, advantage = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1]), torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    two = torch.full((5, 2), 0.5).log()
    new = two + torch.stack([ratio.log(), torch.zeros(5)], -1)
    both = torch.stack([advantage, torch.full((5,), 99.0)], -1)
    first = torch.zeros(5, dtype=torch.long)
    assert sampled_surrogate(new, two, first, both, 0.2).tolist() == pytest.approx([1.2, -1.5, 0.5, -0.8, 2.2])


def test_underflow_makes_no_nan() -> None:
    """pi_old(a) = 0 in float32 and a ratio beyond its range: finite loss, finite gradient."""
    old = torch.tensor([[0.0, -300.0]])
    logits = torch.tensor([[0.0, 5.0]], requires_grad=True)
    new = torch.log_softmax(logits, -1)
    advantage = torch.tensor([[1.0, -400.0]])
    value = expected_surrogate(new, old, advantage, 0.2).sum() + approx_kl(new, old).sum()
    value.backward()
    assert logits.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(clip_fraction(new, old, 1.5)).all()


def test_surrogate_and_diagnostics_by_hand() -> None:
    old, new = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    advantage = torch.tensor([[1.0, -1.0]])
    assert expected_surrogate(new, old, advantage, 0.2).item() == pytest.approx(0.5 * 1.2 - 0.5 * 0.8)
    assert approx_kl(new, old).item() == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert clip_fraction(new, old, 0.2).item() == pytest.approx(1.0)
    assert clip_fraction(new, old, 0.6).item() == pytest.approx(0.0)


def test_a_clipped_class_has_no_gradient() -> None:
    logits = torch.tensor([[0.6, -0.6]], requires_grad=True)
    old = torch.tensor([[0.5, 0.5]]).log()
    expected_surrogate(torch.log_softmax(logits, -1), old, torch.tensor([[1.0, -1.0]]), 0.2).sum().backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_ratio_guard() -> None:
    log_p = torch.log_softmax(torch.randn(8, 3), -1)
    check_ratio(log_p, log_p.clone())
    with pytest.raises(UserError, match="train mode"):
        check_ratio(log_p, log_p + 1e-3)
    with pytest.raises(UserError):
        check_ratio(log_p, log_p * math.nan)


def test_controller() -> None:
    """Ziegler et al. 2019: in proportion to the relative error, at most 20 % of n / horizon a step."""
    start = KLController(0.5, target=2.0, horizon=1000)
    assert start.after(2.2, 100).beta == pytest.approx(0.5 * (1 + 0.1 * 0.1))
    assert start.after(20.0, 100).beta == pytest.approx(0.5 * (1 + 0.2 * 0.1))
    assert start.after(0.0, 100).beta == pytest.approx(0.5 * (1 - 0.2 * 0.1))
    assert KLController(0.5, None, 1000).after(9.0, 100).beta == 0.5


class Given:
    """A rollout's inputs that are features already."""

    def __init__(self, features: Tensor) -> None:
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, part: Tensor) -> Tensor:
        return self.features[part]


def train(policy: nn.Module, x: Tensor, log_ref: Tensor, reward: Tensor, config: PPOConfig) -> Tensor:
    """PPO of the real update on all of x each iteration; returns log pi of x."""
    random, optimiser = generator(0), adamw(policy.parameters(), config.lr, eps=1e-5)
    for iteration in range(config.iterations):
        for group in optimiser.param_groups:
            group["lr"] = config.lr * (1 - iteration / config.iterations)
        with torch.no_grad():
            log_old = log_policy(policy(x))
        rollout = make_rollout(Given(x), log_old, log_ref, reward, config.beta, random)  # type: ignore[arg-type]
        update(policy, optimiser, rollout, config, ONE, random, first=iteration == 0)
    with torch.no_grad():
        return log_policy(policy(x))


@pytest.mark.parametrize(("estimator", "least"), [("expected", 0.995), ("sampled", 0.97)])
def test_identity_task(estimator: str, least: float) -> None:
    """Must learn: one-hot images, reward for naming the image; the optimum is known and reached."""
    x = torch.eye(4).repeat(64, 1)
    reward = 2 * x - 0.5
    log_ref = torch.full_like(x, math.log(0.25))
    config = PPOConfig(
        estimator=estimator, beta=0.5, iterations=80, lr=0.02, epochs=4, minibatch_size=64, target_kl=None
    )
    policy = nn.Linear(4, 4)
    nn.init.zeros_(policy.weight)
    log_pi = train(policy, x, log_ref, reward, config)
    assert standing(log_pi, log_ref, reward, 0.5).attained > least


@pytest.mark.parametrize("beta", [0.1, 0.5, 2.0])
def test_reaches_the_optimum_for_any_beta(beta: float) -> None:
    """Must learn, with a network that can represent pi*: the policy is pi*, and its KL is pi*'s."""
    random = generator(3)
    x = torch.eye(6)
    log_ref = torch.log_softmax(torch.randn(6, 3, generator=random), -1)
    reward = torch.randn(6, 3, generator=random)
    policy = nn.Linear(6, 3)
    with torch.no_grad():
        policy.weight.copy_(log_ref.T)
        policy.bias.zero_()
    config = PPOConfig(beta=beta, iterations=300, lr=0.05, minibatch_size=6, target_kl=None)
    log_pi = train(policy, x, log_ref, reward, config)
    reached = standing(log_pi, log_ref, reward, beta)
    assert reached.attained > 0.995
    assert reached.kl == pytest.approx(reached.kl_star, rel=0.05)
    assert (log_pi.exp() - log_optimal_policy(log_ref, reward, beta).exp()).abs().max() < 0.05


def test_early_stop_comes_before_the_step() -> None:
    """With a target so small that the first step passes it, exactly one step is made."""
    x = torch.eye(4)
    policy = nn.Linear(4, 4)
    log_old = log_policy(policy(x)).detach()
    config = PPOConfig(lr=0.5, epochs=10, minibatch_size=4, target_kl=1e-4)
    rollout = make_rollout(Given(x), log_old, log_old, torch.randn(4, 4), 0.3, generator(0))  # type: ignore[arg-type]
    measured = update(policy, adamw(policy.parameters(), 0.5), rollout, config, ONE, generator(1), first=True)
    assert measured["steps"] == 1


def test_update_refuses_a_policy_that_is_not_deterministic() -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0.01 * torch.randn(len(x), 3)

    x, policy = torch.randn(16, 5), Noisy(5, 3)
    log_old = log_policy(policy(x)).detach()
    rollout = make_rollout(Given(x), log_old, log_old, torch.randn(16, 3), 0.3, generator(0))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ratio"):
        update(policy, adamw(policy.parameters(), 1e-3), rollout, PPOConfig(), ONE, generator(1), first=True)


def test_batchnorm_in_train_mode_is_put_right() -> None:
    """update() runs in eval mode whatever mode it was handed the policy in."""
    policy = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
    x = 3 + torch.randn(16, 5)
    log_old = log_policy(policy(x)).detach()
    rollout = make_rollout(Given(x), log_old, log_old, torch.randn(16, 3), 0.3, generator(0))  # type: ignore[arg-type]
    before = policy[0].running_mean.clone()
    update(policy.train(), adamw(policy.parameters(), 1e-3), rollout, PPOConfig(), ONE, generator(1), first=True)
    assert torch.equal(policy[0].running_mean, before)


def test_every_config_default_is_usable() -> None:
    assert Config.model_validate({"images": {"source": "digits"}}).ppo == PPOConfig()


def test_refreshed_batchnorm_has_the_statistics_of_the_rollout() -> None:
    policy = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
    weights = policy[1].weight.clone()
    x = 3 + 2 * torch.randn(300, 5)
    refresh_batchnorm(policy, Given(x))  # type: ignore[arg-type]
    assert torch.allclose(policy[0].running_mean, x.mean(0), atol=1e-3)
    assert torch.allclose(policy[0].running_var, x.var(0), rtol=0.05)
    assert torch.equal(policy[1].weight, weights)
    assert not policy[0].training
    assert policy[0].momentum == 0.1
    log_old = log_policy(policy(x)).detach()
    check_ratio(log_policy(policy(x[:50])).detach(), log_old[:50])
