"""Rewards of an agent: state entropy by hand, the scale, the ensemble and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.control.reward_ensemble import RewardEnsemble
from pipeline.control.rewards import CLIP, LearnedReward, RewardScale, StateEntropy, state_entropy, true_reward

ACTIONS = np.zeros((1, 2), dtype=np.float32)


def test_state_entropy_is_the_log_distance_to_the_kth_neighbour() -> None:
    visited = np.array([[0.0], [1.0], [3.0], [8.0]])  # standard deviation sqrt(9.5)
    expected = [np.log(1 + 3 / np.sqrt(9.5)), np.log(1 + 7 / np.sqrt(9.5))]
    assert state_entropy(np.array([[0.0], [8.0]]), visited, 3) == pytest.approx(expected)


def test_states_are_visited_after_their_reward() -> None:
    source = StateEntropy(neighbours=2, limit=3)
    steps = [np.array([[value]]) for value in (0.0, 1.0, 5.0, 0.0)]
    rewards = [float(source(obs, ACTIONS, np.zeros(1))[0]) for obs in steps]
    assert rewards[:3] == [0.0, 0.0, 0.0], "fewer states than neighbours"
    spread = np.std([0.0, 1.0, 5.0])
    assert rewards[3] == pytest.approx(np.log1p(1 / spread))
    assert source.states is not None
    assert source.states[:, 0].tolist() == [0.0, 1.0, 5.0], "the oldest, also 0, was replaced"


def test_new_states_pay_more_than_old_ones() -> None:
    source = StateEntropy(neighbours=1, limit=100)
    for _ in range(20):
        source(np.random.default_rng(0).normal(size=(4, 2)), ACTIONS, np.zeros(4))
    near, far = source(np.array([[0.0, 0.0], [9.0, 9.0]]), ACTIONS, np.zeros(2))
    assert far > 3 * near


def test_rewards_are_divided_by_the_spread_of_discounted_sums() -> None:
    scale = RewardScale(gamma=0.5)
    sums, kept = np.zeros(2), []
    random = np.random.default_rng(0)
    for step in range(50):
        rewards, done = random.normal(1.0, 2.0, 2), np.array([step % 7 == 6, False])
        sums = 0.5 * sums + rewards
        kept += sums.tolist()
        scale.update(rewards, done)
        sums[done] = 0.0
    assert scale.std == pytest.approx(np.std(kept))
    assert scale.divide(np.array([1.0, 1e9])) == pytest.approx([1 / np.std(kept), CLIP])
    again = RewardScale(gamma=0.5)
    again.restore(scale.state())
    assert again.std == scale.std


def test_relabelled_rewards_replace_the_scale() -> None:
    scale = RewardScale(gamma=0.9)
    scale.update(np.array([1000.0, -1000.0]), np.array([False, False]))
    rewards, ends = np.array([[1.0, 0.0], [1.0, 2.0]]), np.array([[False, True], [False, False]])
    scale.refit(rewards, ends)
    assert scale.std == pytest.approx(np.std([1.0, 0.0, 1.9, 2.0]))
    assert scale.sums.tolist() == [0.0, 0.0]


def make_ensemble(members: int = 2) -> RewardEnsemble:
    return RewardEnsemble(3, 2, [4], members, torch.Generator().manual_seed(0))


def test_members_are_networks_of_their_own() -> None:
    ensemble = make_ensemble()
    obs, actions = torch.randn(5, 3), torch.randn(5, 2)
    ensemble.standardise(torch.randn(50, 3) * 4 + 7)
    x = torch.cat([(obs - ensemble.mean) / ensemble.std, actions], 1)
    for member in range(2):
        hidden = torch.nn.functional.leaky_relu(x @ ensemble.weights[0][member] + ensemble.biases[0][member])
        expected = torch.tanh(hidden @ ensemble.weights[1][member] + ensemble.biases[1][member])[:, 0]
        torch.testing.assert_close(ensemble(obs, actions)[:, member], expected)
    assert not torch.allclose(ensemble(obs, actions)[:, 0], ensemble(obs, actions)[:, 1])


def test_a_return_is_the_sum_over_the_steps_that_count() -> None:
    ensemble = make_ensemble()
    obs, actions = torch.randn(2, 4, 3), torch.randn(2, 4, 2)
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]])
    each = ensemble(obs.view(8, 3), actions.view(8, 2)).view(2, 4, 2)
    expected = torch.stack([each[0].sum(0), each[1, :2].sum(0)])
    torch.testing.assert_close(ensemble.returns(obs, actions, mask), expected)


def test_a_member_has_the_gradient_of_its_own_return_alone() -> None:
    ensemble = make_ensemble().double()
    obs, actions, mask = torch.randn(1, 3, 3).double(), torch.randn(1, 3, 2).double(), torch.ones(1, 3).double()
    ensemble.returns(obs, actions, mask)[0, 0].backward()
    gradient = ensemble.weights[0].grad
    assert gradient is not None
    assert gradient[1].abs().sum() == 0
    with torch.no_grad():
        before = ensemble.returns(obs, actions, mask)[0, 0].clone()
        ensemble.weights[0][0, 1, 2] += 1e-6
        change = (ensemble.returns(obs, actions, mask)[0, 0] - before) / 1e-6
    assert float(gradient[0, 1, 2]) == pytest.approx(float(change), rel=1e-4)


def test_pessimism_takes_off_the_members_disagreement() -> None:
    ensemble = make_ensemble(3)
    obs, actions = np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)
    each = ensemble(torch.from_numpy(obs), torch.from_numpy(actions)).detach().numpy()
    found = LearnedReward(ensemble, 2.0)(obs, actions, np.full(2, 99.0))
    assert found == pytest.approx(each.mean(1) - 2 * each.std(1), abs=1e-6)
    assert true_reward(obs, actions, np.array([3.0, 4.0])).tolist() == [3.0, 4.0]
