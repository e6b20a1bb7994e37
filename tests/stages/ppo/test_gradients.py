"""The gradient table of METHOD 4: which form of the KL penalty has which gradient, and that ours is the right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from pipeline.config.ppo import PPOConfig
from pipeline.learning.environment import Inputs
from pipeline.learning.objective import entropy, kl, log_optimal_policy, objective
from pipeline.run.runtime import generator
from stages.ppo.loss import (
    exact_baseline,
    expected_surrogate,
    penalised_reward,
    ppo_loss,
    sampled_surrogate,
    score_function,
)
from stages.ppo.rollout import Rollout, make_rollout

BETA = 0.7


def loss_of(rollout: Rollout, log_new: Tensor, config: PPOConfig) -> Tensor:
    """The stage's own loss of a whole rollout under a current policy log_new [N, C]."""
    return ppo_loss(rollout.minibatch(torch.arange(len(log_new)), log_new), config, BETA)


def advantages(log_old: Tensor, log_ref: Tensor, reward: Tensor, beta: float) -> Tensor:
    """As a rollout has them, of every class."""
    penalised = penalised_reward(log_old, log_ref, reward, beta)
    return penalised - exact_baseline(log_old, penalised)


@pytest.fixture
def problem() -> tuple[Tensor, Tensor, Tensor]:
    """logits [N, C] that require a gradient, log pi_ref, reward; double precision."""
    random = torch.Generator().manual_seed(5)
    draw = torch.randn(3, 6, 4, generator=random, dtype=torch.double)
    return draw[0].requires_grad_(), torch.log_softmax(draw[1], -1), draw[2]


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits, retain_graph=True)[0]


def policy_gradient(reward: Tensor, logits: Tensor) -> Tensor:
    """Gradient of E_x sum_a pi_old(a) ratio(a) A(a) at ratio 1, for per-class rewards [N, C] taken as constants."""
    log_pi = torch.log_softmax(logits, -1)
    old = log_pi.detach()
    advantage = reward - (old.exp() * reward).sum(-1, keepdim=True)
    return gradient((old.exp() * (log_pi - old).exp() * advantage).sum(-1).mean(), logits)


def test_finite_differences(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    """The autograd gradient of J is what moving each logit a little does to J."""
    logits, log_ref, reward = problem
    exact = gradient(objective(torch.log_softmax(logits, -1), log_ref, reward, BETA), logits)
    step = 1e-6
    with torch.no_grad():
        for i in range(logits.shape[0]):
            for a in range(logits.shape[1]):
                moved = [logits.clone(), logits.clone()]
                moved[0][i, a] += step
                moved[1][i, a] -= step
                up, down = (objective(torch.log_softmax(m, -1), log_ref, reward, BETA) for m in moved)
                assert torch.isclose((up - down) / (2 * step), exact[i, a], rtol=1e-5, atol=1e-9)


def test_surrogate_has_the_gradient_of_the_objective(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    """k1 in the reward of each class: the surrogate at ratio 1 has exactly J's gradient."""
    logits, log_ref, reward = problem
    log_pi = torch.log_softmax(logits, -1)
    old = log_pi.detach()
    surrogate = expected_surrogate(log_pi, old, advantages(old, log_ref, reward, BETA), clip=0.2).mean()
    assert torch.allclose(gradient(surrogate, logits), gradient(objective(log_pi, log_ref, reward, BETA), logits))


@pytest.mark.parametrize("baseline", ["exact", "none"])
def test_the_current_policys_penalty_has_the_gradient_of_the_objective_everywhere(
    problem: tuple[Tensor, Tensor, Tensor], given: Callable[[Tensor], Inputs], baseline: Literal["exact", "none"]
) -> None:
    """`penalty: current`: J's gradient at the rollout's policy and, unclipped, at any policy it is moved to."""
    logits, log_ref, reward = problem
    old = torch.log_softmax(logits.detach(), -1)
    rollout = make_rollout(
        given(logits.detach()), old, log_ref, reward, beta=BETA, random=generator(0), baseline=baseline
    )
    for step in (0.0, 0.8):
        moved = (logits.detach() + step * torch.sin(torch.arange(24.0)).reshape(6, 4)).requires_grad_()
        log_new = torch.log_softmax(moved, -1)
        exact = gradient(objective(log_new, log_ref, reward, BETA), moved)
        assert torch.allclose(-gradient(loss_of(rollout, log_new, PPOConfig(clip=None)), moved), exact)
    stale = -gradient(loss_of(rollout, log_new, PPOConfig(clip=None, penalty="old")), moved)
    assert not torch.allclose(stale, exact, atol=1e-3), "the old policy's penalty is stale"


def test_at_the_optimum_no_class_has_an_advantage(
    problem: tuple[Tensor, Tensor, Tensor], given: Callable[[Tensor], Inputs]
) -> None:
    """So that sampling has no noise there, whichever class is drawn."""
    _, log_ref, reward = problem
    best = log_optimal_policy(log_ref, reward, BETA)
    rollout = make_rollout(given(reward), best, log_ref, reward, beta=BETA, random=generator(0))
    for sampled in range(4):
        batch = rollout.minibatch(torch.arange(6), best.clone().requires_grad_())
        assert batch.samples is not None
        batch = replace(batch, samples=replace(batch.samples, actions=torch.full((6,), sampled)))
        loss = ppo_loss(batch, PPOConfig(estimator="sampled"), BETA)
        assert gradient(loss, batch.log_new).abs().max() < 1e-12


def test_entropy_and_ptx_are_part_of_the_loss(
    problem: tuple[Tensor, Tensor, Tensor], given: Callable[[Tensor], Inputs]
) -> None:
    """loss = -mean(surrogate + bonus * entropy) - ptx * mean log pi(y|x), whatever else is set."""
    logits, log_ref, reward = problem
    old = torch.log_softmax(logits.detach(), -1)
    rollout = make_rollout(given(logits.detach()), old, log_ref, reward, beta=BETA, random=generator(0))
    plain = loss_of(rollout, old, PPOConfig())
    with_entropy = loss_of(rollout, old, PPOConfig(entropy_bonus=0.5))
    assert torch.allclose(with_entropy, plain - 0.5 * entropy(old).mean())
    batch = rollout.minibatch(torch.arange(6), old, torch.full((6,), -2.0, dtype=torch.double))
    assert torch.allclose(ppo_loss(batch, PPOConfig(ptx=0.5), BETA), plain + 0.5 * 2)


def test_sampled_surrogate_is_unbiased(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    """Weighted by pi_old over every class that could be sampled, it is the expected one, clipped ratios included."""
    logits, log_ref, reward = problem
    log_pi = torch.log_softmax(logits, -1)
    old = torch.log_softmax(logits.detach() + 0.5 * torch.sin(torch.arange(24.0)).reshape(6, 4), -1)
    advantage = advantages(old, log_ref, reward, BETA)
    total = torch.zeros(6, dtype=torch.double)
    for a in range(4):
        total = total + old[:, a].exp() * sampled_surrogate(log_pi[:, a], old[:, a], advantage[:, a], 0.2)
    assert torch.allclose(total, expected_surrogate(log_pi, old, advantage, 0.2))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_score_function_is_unbiased_at_any_temperature(
    problem: tuple[Tensor, Tensor, Tensor], temperature: float
) -> None:
    """REINFORCE: weighted as classes sampled at a temperature are, its gradient is J's, without any baseline."""
    logits, log_ref, reward = problem
    log_pi = torch.log_softmax(logits, -1)
    old = log_pi.detach()
    penalised = penalised_reward(old, log_ref, reward, BETA)
    acting = torch.log_softmax(old / temperature, -1)
    weight = (old - acting).exp()
    total = (acting.exp() * weight * score_function(log_pi, penalised)).sum(-1).mean()
    assert torch.allclose(gradient(total, logits), gradient(objective(log_pi, log_ref, reward, BETA), logits))


def test_a_rollout_at_a_temperature(problem: tuple[Tensor, Tensor, Tensor], given: Callable[[Tensor], Inputs]) -> None:
    """Actions follow pi_old^(1/T), and weights make up for it: the weighted mean return is the policy's own."""
    logits, log_ref, reward = (of.detach()[:1].repeat(200_000, 1) for of in problem)
    old = torch.log_softmax(logits, -1)
    made = make_rollout(
        given(logits), old, log_ref, reward, beta=BETA, random=generator(1), baseline="none", temperature=2.0
    )
    acting = torch.log_softmax(old[0] / 2, -1).exp()
    assert made.samples is not None
    assert torch.allclose(made.samples.actions.bincount() / len(old), acting.float(), atol=5e-3)
    exact = exact_baseline(old[:1], penalised_reward(old[:1], log_ref[:1], reward[:1], BETA))[0, 0]
    assert (made.samples.importance * made.samples.returns).mean() == pytest.approx(float(exact), abs=0.02)
    assert made.baseline is not None
    assert made.baseline.abs().max() == 0
    mean = make_rollout(given(logits), old, log_ref, reward, beta=BETA, random=generator(1), baseline="mean")
    assert mean.baseline is not None
    assert mean.samples is not None
    assert torch.allclose(mean.baseline[:, 0], mean.samples.returns.mean().expand(len(old)))


def test_exact_kl_inside_the_reward_vanishes(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    """The trap: it is the same for every class of an image, so the baseline takes all of it away."""
    logits, log_ref, reward = problem
    penalty = kl(torch.log_softmax(logits, -1).detach(), log_ref)[:, None].expand_as(reward)
    assert torch.allclose(policy_gradient(reward - BETA * penalty, logits), policy_gradient(reward, logits))


def test_k1_in_the_loss_has_no_gradient(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, log_ref, _ = problem
    log_pi = torch.log_softmax(logits, -1)
    k1 = (log_pi.detach().exp() * (log_pi - log_ref)).sum(-1).mean()  # expectation over sampled classes
    assert torch.allclose(gradient(k1, logits), torch.zeros_like(logits), atol=1e-12)


def test_k3_in_the_reward_is_another_divergence(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    """k3 = ratio_ref - 1 - log ratio_ref in the reward gives the gradient of KL(pi||ref) minus that of KL(ref||pi)."""
    logits, log_ref, _ = problem
    log_pi = torch.log_softmax(logits, -1)
    log_ratio = log_ref - log_pi.detach()
    got = policy_gradient(log_ratio.exp() - 1 - log_ratio, logits)
    reverse, forward = gradient(kl(log_pi, log_ref).mean(), logits), gradient(kl(log_ref, log_pi).mean(), logits)
    assert torch.allclose(got, reverse - forward)
    assert not torch.allclose(got, reverse, atol=1e-3)


def test_advantage_has_mean_zero_and_no_offset_left(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, log_ref, reward = problem
    old = torch.log_softmax(logits.detach(), -1)
    a = advantages(old, log_ref, reward, BETA)
    assert torch.allclose((old.exp() * a).sum(-1), torch.zeros(6, dtype=torch.double), atol=1e-12)
    offset = torch.randn(6, 1, dtype=torch.double)
    assert torch.allclose(a, advantages(old, log_ref, reward + offset, BETA))
