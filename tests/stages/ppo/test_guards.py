"""What stops PPO, and which weights it keeps then."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pipeline.config.ppo import PPOConfig
from pipeline.errors import UserError
from pipeline.learning.environment import Inputs
from pipeline.learning.objective import policy_metrics
from pipeline.models.policy import log_policy
from stages.ppo.batchnorm import refresh_batchnorm
from stages.ppo.guards import Diverged, IterateSelection, OverOptimisationCheck, check_divergence
from stages.ppo.learner import Learner
from stages.ppo.update import check_ratio, update

Make = Callable[..., Learner]
Given = Callable[[Tensor], Inputs]


def uniform(rows: int, classes: int) -> Tensor:
    return torch.zeros(rows, classes).log_softmax(-1)


def test_early_stop_comes_before_the_step(make_learner: Make, given: Given) -> None:
    """With a target so small that the first step passes it, exactly one step is made."""
    config = PPOConfig(lr=0.5, epochs=10, minibatch_size=4, target_kl=1e-4)
    learner = make_learner(nn.Linear(4, 4), 4, config)
    measured = update(learner, learner.act(given(torch.eye(4)), uniform(4, 4), torch.randn(4, 4)))
    assert measured["steps"] == 1
    assert measured["update_images"] == 4


def test_refuses_a_policy_that_is_not_deterministic(make_learner: Make, given: Given) -> None:
    class Noisy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 0.01 * torch.randn(len(x), 3)

    learner = make_learner(Noisy(5, 3), 16, PPOConfig())
    rollout = learner.act(given(torch.randn(16, 5)), uniform(16, 3), torch.randn(16, 3))
    with pytest.raises(UserError, match="ratio"):
        update(learner, rollout)


def test_the_ratio_is_checked_in_every_iteration(make_learner: Make, given: Given) -> None:
    """A policy that turns random only later is caught later."""

    class LaterNoisy(nn.Linear):
        noise = 0.0

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.noise * torch.randn(len(x), 3)

    policy = LaterNoisy(5, 3)
    learner, x = make_learner(policy, 16, PPOConfig()), torch.randn(16, 5)
    update(learner, learner.act(given(x), uniform(16, 3), torch.randn(16, 3)))
    policy.noise = 0.01
    with pytest.raises(UserError, match="first step the ratio"):
        update(learner, learner.act(given(x), uniform(16, 3), torch.randn(16, 3)))


def test_batchnorm_in_train_mode_is_put_right(make_learner: Make, given: Given) -> None:
    """Acting and learning run in eval mode whatever mode the policy was in."""
    policy = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)).train()
    learner = make_learner(policy, 16, PPOConfig())
    before = policy[0].running_mean.clone()
    rollout = learner.act(given(3 + torch.randn(16, 5)), uniform(16, 3), torch.randn(16, 3))
    policy.train()
    update(learner, rollout)
    assert torch.equal(policy[0].running_mean, before)


def test_refreshed_batchnorm_has_the_statistics_of_the_rollout(given: Given) -> None:
    policy = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3)).eval()
    weights = policy[1].weight.clone()
    x = 3 + 2 * torch.randn(300, 5)
    refresh_batchnorm(policy, given(x))
    assert torch.allclose(policy[0].running_mean, x.mean(0), atol=1e-3)
    assert torch.allclose(policy[0].running_var, x.var(0), rtol=0.05)
    assert torch.equal(policy[1].weight, weights)
    assert not policy[0].training
    assert policy[0].momentum == 0.1
    log_old = log_policy(policy(x)).detach()
    check_ratio(log_policy(policy(x[:50])).detach(), log_old[:50])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_no_step_is_made_on_a_loss_that_is_no_number(make_learner: Make, given: Given, bad: float) -> None:
    policy = nn.Linear(4, 4)
    learner, x = make_learner(policy, 4, PPOConfig()), torch.eye(4)
    before = policy.weight.clone()
    reward = torch.randn(4, 4)
    reward[0, 0] = bad
    with pytest.raises(Diverged, match="gradient"):
        update(learner, learner.act(given(x), uniform(4, 4), reward))
    assert torch.equal(policy.weight, before)


def test_a_policy_without_probabilities_does_not_act(make_learner: Make, given: Given) -> None:
    """A step that ruined the weights shows at the next rollout, before a class is drawn from what is no distribution."""
    policy = nn.Linear(4, 4)
    nn.init.constant_(policy.weight, float("nan"))
    with pytest.raises(Diverged, match="not finite"):
        make_learner(policy, 4, PPOConfig()).act(given(torch.eye(4)), uniform(4, 4), torch.zeros(4, 4))


def test_exploding_kl_is_noticed() -> None:
    """One class whatever the image: far from the reference for little reward."""
    log_ref = torch.tensor([[0.999, 0.001], [0.001, 0.999]]).log()
    reward = torch.tensor([[0.5, -0.5], [-0.5, 0.5]])
    good = policy_metrics(log_ref, log_ref, reward, 0.3)
    check_divergence(good, PPOConfig())
    collapsed = torch.tensor([[1 - 1e-7, 1e-7], [1 - 1e-7, 1e-7]]).log()
    with pytest.raises(Diverged, match="KL to the reference is"):
        check_divergence(policy_metrics(collapsed, log_ref, reward, 0.3), PPOConfig())
    check_divergence(policy_metrics(collapsed, log_ref, reward, 0.3), PPOConfig(max_kl=5.0))
    with pytest.raises(Diverged, match="not finite"):
        check_divergence(policy_metrics(log_ref * float("nan"), log_ref, reward, 0.3), PPOConfig())


def test_iterate_selection() -> None:
    """The last good iterate, or the one of the best held-out objective; the first of equals."""
    weights = [{"w": torch.tensor(float(n))} for n in range(4)]
    last, best = IterateSelection("last"), IterateSelection("best_heldout")
    for n, objective in enumerate([0.1, 0.7, 0.7, 0.3]):
        last.consider(n, objective, weights[n])
        best.consider(n, objective, weights[n])
    assert last.select() == (3, weights[3])
    assert best.select() == (1, weights[1])
    with pytest.raises(UserError, match="reference itself"):
        IterateSelection("last").select()


def test_over_optimisation_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    """Reward and disagreement both up: a warning; either alone, or no ensemble: none."""
    for reward, spread in [(1.0, 0.5), (0.0, 0.9), (2.0, None)]:
        check = OverOptimisationCheck()
        check.check(0, {"reward_heldout": 0.1, "spread_heldout": None if spread is None else 0.5})
        check.check(1, {"reward_heldout": reward, "spread_heldout": spread})
        assert not caplog.records
    check = OverOptimisationCheck()
    for reward, spread in [(0.1, 0.5), (0.9, 0.6), (1.0, 0.7), (1.1, 0.8)]:
        check.check(3, {"reward_heldout": reward, "spread_heldout": spread})
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert "from 0.10 to 1.00" in warning.getMessage()
    assert "0.50 to 0.70" in warning.getMessage()
