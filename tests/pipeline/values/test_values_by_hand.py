"""Targets, advantages, schedules and updates of value-based methods, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pipeline.run.runtime import generator
from pipeline.values import dqn
from pipeline.values.actor_critic import ActorCriticConfig, Steps, actor_critic_loss, make_rollout
from pipeline.values.environments import LEFT, RIGHT, Chain, Step
from pipeline.values.exploration import LinearSchedule, epsilon_greedy, softmax_policy
from pipeline.values.replay import ReplayBuffer
from pipeline.values.returns import Trajectories, collect, complete, gae
from pipeline.values.tabular import policy_gradient, q_update
from pipeline.values.transitions import Transitions, td_target


def transition(state: int, action: int, reward: float, next_state: int, terminal: bool) -> Transitions:
    return Transitions(
        *(torch.tensor([value]) for value in (state, action, reward, next_state, terminal)),
    )


def table(*rows: list[float]) -> nn.Embedding:
    """A network that is a table: numbers of states to its rows."""
    return nn.Embedding.from_pretrained(torch.tensor(rows), freeze=False)


def test_one_q_learning_update() -> None:
    """Q(0, 1) = 2 + 0.5 (1 + 0.9 max(3, 4) - 2) = 3.3; nothing else changes."""
    q = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    updated = q_update(q, transition(0, 1, 1.0, 1, False), lr=0.5, discount=0.9)
    assert updated.flatten().tolist() == pytest.approx([1.0, 3.3, 3.0, 4.0])
    ended = q_update(q, transition(0, 1, 1.0, 1, True), lr=0.5, discount=0.9)
    assert float(ended[0, 1]) == pytest.approx(2 + 0.5 * (1 - 2)), "nothing follows a terminal step"


def test_parallel_episodes_share_one_step_of_q_learning() -> None:
    """Two rewards for the same action, 1 and 3: Q moves by lr times the mean error."""
    both = Transitions(*(torch.tensor(column) for column in ([0, 0], [0, 0], [1.0, 3.0], [0, 0], [True, True])))
    assert float(q_update(torch.zeros(1, 2), both, lr=0.5, discount=0.9)[0, 0]) == pytest.approx(1.0)


def test_td_target() -> None:
    """The reward plus 0.9 times the target network's highest value; a terminal step's is the reward alone."""
    batch = Transitions(*(torch.tensor(column) for column in ([0, 0], [0, 1], [1.0, -1.0], [1, 1], [False, True])))
    target = td_target(batch, lambda states: torch.tensor([[0.0, 0.0], [5.0, 7.0]])[states], 0.9)
    assert target.tolist() == pytest.approx([1 + 0.9 * 7, -1.0])


def test_a_target_of_one_step_episodes_needs_no_target_network() -> None:
    batch = transition(0, 0, 2.5, 0, True)
    assert td_target(batch, lambda _: pytest.fail("called"), 0.9).tolist() == [2.5]


def test_gae() -> None:
    """Three steps, the second of them terminal, discount 0.5, lambda 0.5.

    delta_2 = 4 + 0.5 * 10 - 3 = 6;  delta_1 = 2 - 2 = 0 (terminal);  delta_0 = 1 + 0.5 * 2 - 1 = 1
    A_2 = 6;  A_1 = 0;  A_0 = 1 + 0.25 * 0 = 1. Without the end in between: delta_1 = 1.5, A_1 = 3, A_0 = 1.75.
    """
    reward, values = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    ends, last = torch.tensor([[False], [True], [False]]), torch.tensor([10.0])
    assert gae(reward, ends, values, last, discount=0.5, decay=0.5).flatten().tolist() == [1.0, 0.0, 6.0]
    goes_on = torch.zeros_like(ends)
    assert gae(reward, goes_on, values, last, discount=0.5, decay=0.5).flatten().tolist() == [1.75, 3.0, 6.0]
    one_step = gae(reward, goes_on, values, last, discount=0.5, decay=0.0)
    assert one_step.flatten().tolist() == [1.0, 1.5, 6.0], "lambda 0: the error of one step"
    whole = gae(reward, goes_on, torch.zeros(3, 1), torch.zeros(1), discount=0.5, decay=1.0)
    assert whole.flatten().tolist() == [1 + 0.5 * 4, 4.0, 4.0], "lambda 1: the discounted return"


def test_which_steps_have_a_known_return() -> None:
    terminal = torch.tensor([[False, True], [True, False], [False, False]])
    assert complete(terminal).tolist() == [[True, True], [True, False], [False, False]]


def test_the_schedule_of_epsilon() -> None:
    """From 1 to 0.2 in half of 100 steps, then constant."""
    schedule = LinearSchedule(1.0, 0.2, 0.5)
    assert [schedule.at(step, 100) for step in (0, 25, 50, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_epsilon_greedy() -> None:
    """The best of three actions has probability 1 - epsilon + epsilon / 3, each other epsilon / 3."""
    q = torch.tensor([[0.0, 2.0, 1.0]]).repeat(30_000, 1)
    share = epsilon_greedy(q, 0.6, generator(0)).bincount(minlength=3) / len(q)
    assert share.tolist() == pytest.approx([0.2, 0.6, 0.2], abs=0.01)
    assert set(epsilon_greedy(q, 0.0, generator(0)).tolist()) == {1}


def test_softmax_policy_at_a_temperature() -> None:
    """Q-values log 2 apart: odds of 2 at temperature 1, of 4 at temperature 1/2."""
    q = torch.tensor([[0.0, math.log(2)]])
    assert softmax_policy(q, 1.0).exp()[0].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert softmax_policy(q, 0.5).exp()[0].tolist() == pytest.approx([1 / 5, 4 / 5])


def test_policy_gradient() -> None:
    """Returns 3 of action 0 and 1 of action 1, so a baseline of 2; at pi = (1/4, 3/4) and temperature 2:

    ((+1) (1 - 1/4, -3/4) + (-1) (-1/4, 1 - 3/4)) / 2 / 2 = (1/4, -1/4). Another state's return does not change that.
    """
    log_pi = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    state, action, returns = torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([3.0, 1.0])
    gradient = policy_gradient(log_pi, state, action, returns, temperature=2.0)
    assert gradient.flatten().tolist() == pytest.approx([0.25, -0.25, 0.0, 0.0])
    more = policy_gradient(
        log_pi, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0]), torch.tensor([3.0, 1.0, 50.0]), temperature=2.0
    )
    assert more.flatten().tolist() == pytest.approx([1 / 6, -1 / 6, 0.0, 0.0])
    assert policy_gradient(log_pi, state[:0], action[:0], returns[:0], temperature=2.0).abs().sum() == 0, (
        "no step, no change"
    )


def test_the_replay_buffer_keeps_the_newest() -> None:
    buffer = ReplayBuffer(4)
    for number in range(3):
        states = torch.tensor([2 * number, 2 * number + 1])
        buffer.add(Transitions(states, states, states.float(), states + 1, states % 2 == 1))
    assert len(buffer) == 4
    seen = buffer.sample(500, generator(1))
    assert set(seen.state.tolist()) == {2, 3, 4, 5}
    assert torch.equal(seen.next_state, seen.state + 1), "the columns of a transition stay together"
    assert torch.equal(seen.reward, seen.state.float())
    assert torch.equal(seen.terminal, seen.state % 2 == 1)


def test_replay_is_uniform() -> None:
    """Also while the buffer is not full: each of 5 transitions is a fifth of 50,000 samples, ± 4 standard errors."""
    buffer = ReplayBuffer(100)
    states = torch.arange(5)
    buffer.add(Transitions(states, states, states.float(), states, states > 9))
    share = buffer.sample(50_000, generator(2)).state.bincount(minlength=5) / 50_000
    assert share.tolist() == pytest.approx([0.2] * 5, abs=4 * math.sqrt(0.2 * 0.8 / 50_000))


class TwoStates:
    """State 1 follows state 0 and the other way round; never terminal, reward 1."""

    def __init__(self) -> None:
        self.state = torch.tensor([0])

    def reset(self) -> Tensor:
        return self.state

    def step(self, action: Tensor) -> Step:
        self.state = 1 - self.state
        return Step(torch.ones(1), self.state, torch.tensor([False]))


def test_the_target_network_lags() -> None:
    """Its values are those that the network had after the last multiple of `target_every` steps."""
    network = table([0.0, 0.0], [0.0, 0.0])
    online, used = [network.weight.detach().clone()], []

    def q_values(which: nn.Module, states: Tensor) -> Tensor:
        if which is not network:
            used.append(which.weight.detach().clone())  # type: ignore[arg-type]
        q: Tensor = which(states)
        return q

    def after_step(step: int, epsilon: float, loss: float) -> None:
        online.append(network.weight.detach().clone())

    config = dqn.DQNConfig(steps=7, minibatch_size=4, lr=0.1, target_every=3)
    dqn.learn(TwoStates(), network, q_values, config, random=generator(0), report=after_step)
    assert len(used) == 7
    assert not torch.equal(online[3], online[6])
    for step, weights in enumerate(used):
        assert torch.equal(weights, online[step - step % 3])


def test_the_ppo_loss_by_hand() -> None:
    """One state, pi = (1/2, 1/2); action 1 had probability 1/4 (ratio 2, advantage 3), action 0 had 1/2 (ratio 1, advantage -1).

    Clipped at 1.2: (1.2 * 3 - 1) / 2 = 1.3; unclipped (2 * 3 - 1) / 2 = 2.5. The critic says 0.5 where 1 and 3 were
    returned: (0.25 + 6.25) / 2 = 3.25. Entropy: log 2.
    """
    actor, critic = table([0.0, 0.0]), table([0.5])
    steps = Steps(
        state=torch.zeros(2, dtype=torch.long),
        action=torch.tensor([1, 0]),
        log_old=torch.tensor([0.25, 0.5]).log(),
        advantage=torch.tensor([3.0, -1.0]),
        returns=torch.tensor([1.0, 3.0]),
    )
    config = ActorCriticConfig(iterations=1, value_weight=0.5, entropy_bonus=0.1)
    rest = 0.5 * 3.25 - 0.1 * math.log(2)
    assert float(actor_critic_loss(actor, critic, steps, config).detach()) == pytest.approx(-2.5 + rest)
    loss = actor_critic_loss(actor, critic, steps, config.as_ppo())
    assert float(loss.detach()) == pytest.approx(-1.3 + rest)
    loss.backward()
    # Clipped, action 1 has no gradient; action 0: -ratio A d log pi(0) / 2 = 0.5 (1 - 1/2, -1/2). The entropy is stationary.
    assert actor.weight.grad.flatten().tolist() == pytest.approx([0.25, -0.25])  # type: ignore[union-attr]
    assert float(critic.weight.grad) == pytest.approx(0.5 * 2 * (-0.5 - 2.5) / 2)  # type: ignore[arg-type]


def test_a_rollout_of_the_chain() -> None:
    """An actor that always goes right: advantages and returns follow from the rewards and a critic that says 0.5."""
    actor, critic = table(*[[-50.0, 50.0]] * 2), table([0.5], [0.5])
    chain = Chain(1, generator(0), states=2)
    chain.state = torch.tensor([0])
    config = ActorCriticConfig(iterations=1, steps=2, discount=0.9, gae_lambda=0.8)
    rollout, reached = make_rollout(chain, torch.tensor([0]), actor, critic, config=config, random=generator(0))
    assert rollout.state.tolist() == [0, 1]
    assert rollout.action.tolist() == [RIGHT, RIGHT]
    last = 1 - 0.5
    assert rollout.advantage.tolist() == pytest.approx([0.9 * 0.5 - 0.5 + 0.9 * 0.8 * last, last])
    assert rollout.returns.tolist() == pytest.approx([0.5 + 0.9 * 0.5 - 0.5 + 0.9 * 0.8 * last, 1.0])
    assert rollout.log_old.tolist() == pytest.approx([0.0, 0.0])
    assert torch.equal(reached, chain.state)


def test_the_chain() -> None:
    """0.7 for leaving on the left, 1 on the right, then a new first state; all first states are equally likely."""
    chain = Chain(3, generator(0))
    chain.state = torch.tensor([0, 4, 2])
    after = chain.step(torch.tensor([LEFT, RIGHT, LEFT]))
    assert after.reward.tolist() == pytest.approx([0.7, 1.0, 0.0])
    assert after.terminal.tolist() == [True, True, False]
    assert int(after.state[2]) == 1
    starts = Chain(50_000, generator(1)).reset().bincount(minlength=5) / 50_000
    assert starts.tolist() == pytest.approx([0.2] * 5, abs=0.01)


def test_collected_steps() -> None:
    """Each step starts where the one before ended."""
    made = collect(TwoStates(), torch.tensor([0]), lambda states: states, 3)
    assert isinstance(made, Trajectories)
    assert made.state.flatten().tolist() == made.action.flatten().tolist() == [0, 1, 0]
    assert made.last_state.tolist() == [1]
