"""Two problems that every learner must learn: the four-armed bandit, and a chain with a discount."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pipeline.run.runtime import generator
from pipeline.values import actor_critic, dqn
from pipeline.values.actor_critic import ActorCriticConfig
from pipeline.values.dqn import DQNConfig
from pipeline.values.environments import LEFT, RIGHT, Bandit, Chain
from pipeline.values.exploration import LinearSchedule, softmax_policy
from pipeline.values.tabular import QLearningConfig, SoftmaxPolicyConfig, learn_q, learn_softmax_policy

# P(+1) is the normal distribution's 1 - Phi(threshold): 0.4207, 0.5, 0.5793, 0.8413 from tables.
MEANS = [2 * p - 1 for p in (0.4207, 0.5, 0.5793, 0.8413)]
BEST_ARM = 3
DISCOUNT = 0.9
# Best actions and optimal Q-values of the chain: 0.9 per step to the right end's 1, or to the left end's 0.7.
BEST = [LEFT, RIGHT, RIGHT, RIGHT, RIGHT]
VALUES = [0.7, 0.729, 0.81, 0.9, 1.0]
Q_LEFT = [0.7, 0.9 * 0.7, 0.9 * 0.729, 0.9 * 0.81, 0.9 * 0.9]
Q_RIGHT = [0.9 * 0.729, 0.9 * 0.81, 0.9 * 0.9, 0.9, 1.0]


def q_of(network: nn.Module, states: Tensor) -> Tensor:
    q: Tensor = network(states)
    return q


def bandit(parallel: int) -> Bandit:
    return Bandit(parallel, generator(1))


def chain(parallel: int) -> Chain:
    return Chain(parallel, generator(2))


def assert_optimal(q: Tensor, within: float) -> None:
    """Q-values [5, 2] of the chain."""
    assert q[:, LEFT].tolist() == pytest.approx(Q_LEFT, abs=within)
    assert q[:, RIGHT].tolist() == pytest.approx(Q_RIGHT, abs=within)
    assert q.argmax(-1).tolist() == BEST


def test_the_bandits_means_are_those_of_the_table() -> None:
    assert Bandit.expected_rewards().tolist() == pytest.approx(MEANS, abs=2e-4)
    pulls = torch.arange(4).repeat(50_000)
    mean = Bandit(len(pulls), generator(0)).step(pulls).reward.view(-1, 4).mean(0)
    assert mean.tolist() == pytest.approx(MEANS, abs=0.02)


def test_softmax_policy_on_the_bandit() -> None:
    """It finds the best arm at any temperature; the lower one gets there in fewer updates."""
    chance = {}
    for temperature in (0.5, 1.0):
        config = SoftmaxPolicyConfig(iterations=150, lr=0.4, temperature=temperature)
        preferences = learn_softmax_policy(bandit(64), torch.zeros(1, 4), config, generator(3))
        chance[temperature] = float(softmax_policy(preferences, temperature)[0, BEST_ARM].exp())
    assert chance[1.0] > 0.85
    assert chance[0.5] > chance[1.0]


def test_softmax_policy_on_the_chain() -> None:
    config = SoftmaxPolicyConfig(iterations=200, steps=12, lr=15.0, discount=DISCOUNT)
    preferences = learn_softmax_policy(chain(32), torch.zeros(5, 2), config, generator(3))
    chance = softmax_policy(preferences, 1.0).exp()
    assert chance.argmax(-1).tolist() == BEST
    assert chance[range(5), BEST].min() > 0.7


def test_q_learning_on_the_bandit() -> None:
    config = QLearningConfig(steps=700, lr=0.01, epsilon=LinearSchedule(1.0, 0.5))
    q = learn_q(bandit(64), torch.zeros(1, 4), config, generator(4))
    assert q[0].tolist() == pytest.approx(MEANS, abs=0.08)
    assert int(q.argmax()) == BEST_ARM


def test_q_learning_on_the_chain() -> None:
    """The optimal Q-values, although the actions are not optimal: Q-learning is off-policy."""
    config = QLearningConfig(steps=600, lr=0.3, discount=DISCOUNT, epsilon=LinearSchedule(1.0, 0.3))
    assert_optimal(learn_q(chain(8), torch.zeros(5, 2), config, generator(4)), within=1e-3)


def test_dqn_on_the_bandit(network: Callable[..., nn.Module]) -> None:
    """The squared loss has the mean reward as its optimum; its softmax policy is in proportion to e^{mean / temperature}."""
    q_network = network(1, 4)
    config = DQNConfig(steps=300, minibatch_size=256, lr=0.02, epsilon=LinearSchedule(1.0, 0.5), loss="squared")
    dqn.learn(bandit(32), q_network, q_of, config, random=generator(5))
    q = q_of(q_network, torch.tensor([0])).detach()
    assert q[0].tolist() == pytest.approx(MEANS, abs=0.1)
    assert int(q.argmax()) == BEST_ARM
    assert softmax_policy(q, 0.5).exp()[0].tolist() == pytest.approx(
        torch.softmax(torch.tensor(MEANS) / 0.5, 0).tolist(), abs=0.06
    )


@pytest.mark.parametrize("loss", ["huber", pytest.param("squared", marks=pytest.mark.long)])
def test_dqn_on_the_chain(network: Callable[..., nn.Module], loss: str) -> None:
    q_network = network(5, 2)
    config = DQNConfig(
        steps=500,
        minibatch_size=64,
        lr=0.02,
        discount=DISCOUNT,
        epsilon=LinearSchedule(1.0, 0.3),
        buffer=2000,
        target_every=20,
        loss=loss,  # type: ignore[arg-type]
    )
    dqn.learn(chain(8), q_network, q_of, config, random=generator(6))
    assert_optimal(q_of(q_network, torch.arange(5)).detach(), within=0.02)


A2C_BANDIT = ActorCriticConfig(iterations=100, steps=4, lr=0.02)
PPO_BANDIT = replace(A2C_BANDIT.as_ppo(), iterations=30)
A2C_CHAIN = ActorCriticConfig(iterations=100, steps=16, lr=0.02, discount=DISCOUNT)
PPO_CHAIN = replace(A2C_CHAIN.as_ppo(), iterations=25, minibatch_size=128)


@pytest.mark.parametrize("config", [A2C_BANDIT, PPO_BANDIT], ids=["a2c", "ppo"])
def test_actor_critic_on_the_bandit(network: Callable[..., nn.Module], config: ActorCriticConfig) -> None:
    """Nearly always the best arm; and the critic knows what that is worth."""
    actor, critic = network(1, 4), network(1, 1)
    actor_critic.learn(bandit(32), actor, critic, config, random=generator(7))
    state = torch.tensor([0])
    chance = torch.softmax(actor(state), -1)[0]
    assert chance[BEST_ARM] > 0.9
    assert float(critic(state).detach()) == pytest.approx(float(chance.detach() @ torch.tensor(MEANS)), abs=0.1)


@pytest.mark.parametrize("config", [A2C_CHAIN, PPO_CHAIN], ids=["a2c", "ppo"])
def test_actor_critic_on_the_chain(network: Callable[..., nn.Module], config: ActorCriticConfig) -> None:
    actor, critic = network(5, 2), network(5, 1)
    actor_critic.learn(chain(32), actor, critic, config, random=generator(8))
    chance = torch.softmax(actor(torch.arange(5)), -1)
    assert chance.argmax(-1).tolist() == BEST
    assert critic(torch.arange(5))[:, 0].tolist() == pytest.approx(VALUES, abs=0.05)
