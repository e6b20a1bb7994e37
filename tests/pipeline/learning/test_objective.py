from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.learning.objective import entropy, kl, log_optimal_policy, objective, optimal_objective, policy_metrics

HALF = math.log(0.5)


def random_problem(seed: int, images: int = 7, classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    draw = torch.randn(3, images, classes, generator=random, dtype=torch.double)
    return torch.log_softmax(draw[0], -1), torch.log_softmax(draw[1], -1), draw[2]


def test_worked_out_by_hand() -> None:
    """Two classes, uniform reference, reward (1, 0), beta 1: Z = (e + 1) / 2, pi*(0) = e / (e + 1)."""
    log_ref, reward = torch.tensor([[HALF, HALF]]), torch.tensor([[1.0, 0.0]])
    assert math.isclose(optimal_objective(log_ref, reward, 1.0), math.log((math.e + 1) / 2), rel_tol=1e-6)
    assert math.isclose(log_optimal_policy(log_ref, reward, 1.0).exp()[0, 0], math.e / (math.e + 1), rel_tol=1e-6)
    assert math.isclose(objective(log_ref, log_ref, reward, 1.0), 0.5, rel_tol=1e-6)
    pi = torch.tensor([[0.75, 0.25]])
    by_hand = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert math.isclose(kl(pi.log(), log_ref)[0], by_hand, rel_tol=1e-6)
    assert math.isclose(objective(pi.log(), log_ref, reward, 2.0), 0.75 - 2 * by_hand, rel_tol=1e-6)


def test_entropy_and_kl_of_a_certain_policy_are_finite() -> None:
    certain = torch.tensor([[0.0, -math.inf]])
    assert entropy(certain)[0] == 0
    assert math.isclose(kl(certain, torch.tensor([[HALF, HALF]]))[0], math.log(2), rel_tol=1e-6)


@given(seed=st.integers(0, 10_000), beta=st.floats(0.05, 5))
@settings(max_examples=50, deadline=None)
def test_gap_to_the_optimum_is_beta_times_kl(seed: int, beta: float) -> None:
    log_pi, log_ref, reward = random_problem(seed)
    gap = optimal_objective(log_ref, reward, beta) - objective(log_pi, log_ref, reward, beta)
    expected = beta * kl(log_pi, log_optimal_policy(log_ref, reward, beta)).mean()
    assert torch.isclose(gap, expected, rtol=1e-8, atol=1e-10)
    assert gap >= 0


def test_measure_policy_at_the_ends() -> None:
    _, log_ref, reward = random_problem(3)
    assert abs(policy_metrics(log_ref, log_ref, reward, 0.3).attained) < 1e-9
    at_best = policy_metrics(log_optimal_policy(log_ref, reward, 0.3), log_ref, reward, 0.3)
    assert abs(at_best.attained - 1) < 1e-9
    assert math.isclose(at_best.kl, at_best.kl_star)


def test_nothing_to_attain() -> None:
    log_pi, log_ref, _ = random_problem(4)
    flat = torch.zeros_like(log_ref)
    assert policy_metrics(log_ref, log_ref, flat, 1.0).attained == 1
    assert math.isnan(policy_metrics(log_pi, log_ref, flat, 1.0).attained)
