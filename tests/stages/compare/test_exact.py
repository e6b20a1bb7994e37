"""Policies that need no training, worked out by hand and by simulation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.learning.objective import kl, policy_metrics
from pipeline.run.runtime import generator
from stages.compare.exact_optimum import best_of_n, greedy, n_of_kl


def test_best_of_n_by_hand() -> None:
    """Two classes: the worse one comes out only if every draw is it. Three: P(a) = F(a)^n - F(a-)^n."""
    log_ref = torch.tensor([[0.5, 0.5], [0.9, 0.1]]).log()
    reward = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert best_of_n(log_ref, reward, 2).exp().flatten().tolist() == pytest.approx([0.25, 0.75, 0.81, 0.19])
    three = best_of_n(torch.tensor([[0.2, 0.5, 0.3]]).log(), torch.tensor([[3.0, 1.0, 2.0]]), 3).exp()
    assert three[0].tolist() == pytest.approx([1 - 0.8**3, 0.5**3, 0.8**3 - 0.5**3])


def test_best_of_one_is_the_reference_and_of_many_the_best() -> None:
    log_ref = torch.log_softmax(torch.randn(5, 4, generator=generator(1)), -1)
    reward = torch.randn(5, 4, generator=generator(2))
    assert torch.allclose(best_of_n(log_ref, reward, 1), log_ref.double(), atol=1e-6)
    assert torch.equal(best_of_n(log_ref, reward, 5000).argmax(-1), reward.argmax(-1))
    assert torch.equal(greedy(reward).exp(), torch.eye(4)[reward.argmax(-1)])


def test_best_of_n_is_what_drawing_gives() -> None:
    random = generator(3)
    log_ref, reward = torch.log_softmax(torch.randn(1, 5, generator=random), -1), torch.randn(1, 5, generator=random)
    drawn = torch.multinomial(log_ref.exp().expand(200_000, 5), 4, replacement=True, generator=random)
    best = drawn.gather(1, reward[0][drawn].argmax(-1, keepdim=True)).flatten().bincount(minlength=5) / len(drawn)
    assert torch.allclose(best_of_n(log_ref, reward, 4).exp()[0].float(), best, atol=5e-3)


@given(st.integers(0, 10_000), st.integers(1, 300), st.floats(0.1, 60.0))
@settings(max_examples=60, deadline=None)
def test_best_of_n_is_a_distribution(seed: int, n: int, sharpness: float) -> None:
    """However sure the reference is: finite, sums to 1, no negative probability."""
    log_ref = torch.log_softmax(sharpness * torch.randn(6, 5, generator=generator(seed)), -1)
    made = best_of_n(log_ref, torch.randn(6, 5, generator=generator(seed, 1)), n).exp()
    assert (made >= 0).all()
    assert torch.allclose(made.sum(-1), torch.ones(6, dtype=torch.double), atol=1e-9)


def test_n_of_kl() -> None:
    log_ref = torch.full((3, 8), 1 / 8).log()
    reward = torch.randn(3, 8, generator=generator(4))
    for n in (1, 3, 20):
        nats = float(kl(best_of_n(log_ref, reward, n), log_ref.double()).mean())
        assert n_of_kl(log_ref, reward, nats) == n


def test_greedy_stands_below_the_optimum() -> None:
    """A policy with probabilities of zero has finite figures, and J < J*."""
    log_ref = torch.log_softmax(torch.randn(9, 4, generator=generator(5)), -1)
    reward = torch.randn(9, 4, generator=generator(6))
    stands = policy_metrics(greedy(reward), log_ref, reward, 0.3)
    assert stands.J_star > stands.J
    assert stands.kl > stands.kl_star
    assert stands.attained < 1
