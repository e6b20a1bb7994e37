"""Agents, their environments' wrapper, and what is given to the reward model."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.control_tasks import needs_control, small_task

from pipeline.control.agents import LearningRate, agents
from pipeline.control.config import AgentConfig, EnvironmentConfig
from pipeline.control.env_states import adapter_for
from pipeline.control.environments import Spaces, make_env, make_envs, read_spaces
from pipeline.control.rewards import RewardScale
from pipeline.control.segments import CUT, GOES_ON, TERMINATED, Recorder
from pipeline.errors import UserError

pytestmark = needs_control


def test_actions_become_vectors() -> None:
    assert Spaces(1, 3, np.zeros(0), np.zeros(0)).encode(np.array([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    continuous = Spaces(1, 0, np.array([-2.0, 0.0]), np.array([2.0, 10.0]))
    assert continuous.encode(np.array([[-2.0, 10.0], [1.0, 5.0]])).tolist() == [[-1, 1], [0.5, 0]]


@pytest.mark.parametrize(
    ("name", "observation", "action", "max_steps"), [("CartPole-v1", 4, 2, 500), ("Pendulum-v1", 3, 1, 200)]
)
def test_spaces_of_environments(name: str, observation: int, action: int, max_steps: int) -> None:
    spaces = read_spaces(make_env(EnvironmentConfig(id=name)), name)
    assert (spaces.observation, spaces.action, spaces.max_steps) == (observation, action, max_steps)


def test_observations_that_are_no_vector_are_refused() -> None:
    from gymnasium.spaces import Box, Discrete

    odd: Any = SimpleNamespace(observation_space=Discrete(5), action_space=Discrete(2), spec=None)
    with pytest.raises(UserError, match=r"environment\.id: 'Odd' observes Discrete\(5\); control tasks need a vector"):
        read_spaces(odd, "Odd")
    odd = SimpleNamespace(observation_space=Box(-1, 1, (2,)), action_space=Box(-np.inf, np.inf, (1,)), spec=None)
    with pytest.raises(UserError, match="control tasks need numbered actions"):
        read_spaces(odd, "Odd")


def test_the_wrapper_replaces_rewards_and_records_the_true_ones() -> None:
    from pipeline.control.reward_env import RewardEnv

    envs: Any = make_envs(EnvironmentConfig(id="CartPole-v1", settings={"max_episode_steps": 12}), 2)
    spaces = read_spaces(envs.envs[0], "CartPole-v1")
    envs.reset()
    adapter = adapter_for(envs.envs[0], "CartPole-v1")
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    def source(obs: np.ndarray, actions: np.ndarray, true: np.ndarray) -> np.ndarray:
        seen.append((obs.copy(), actions))
        return np.array([-3.0, 5.0])

    env = RewardEnv(envs, spaces, source, recorder=Recorder(100), scale=RewardScale(0.9), adapter=adapter)
    env.seed(0)
    first = env.reset().copy()
    expected = RewardScale(0.9)
    for step in range(12):
        action = np.array([1, step % 2])  # always right: falls after about ten steps; alternating: is cut after twelve
        _, rewards, done, _ = env.step(action)
        expected.update(np.array([-3.0, 5.0]), done)
        assert rewards == pytest.approx(np.array([-3.0, 5.0]) / (expected.std + 1e-8), rel=1e-6)
    assert seen[0][0].tolist() == first.tolist(), "a reward is that of the state in which the action was taken"
    assert seen[1][1].tolist() == [[0, 1], [0, 1]]
    pool, true = env.recorder.pool()
    assert set(true.values.flatten()) == {1.0}
    assert TERMINATED in pool.ends[:, 0]
    assert pool.ends[:, 1].tolist() == [GOES_ON] * 11 + [CUT]
    np.testing.assert_allclose(pool.states[:, :, :4], pool.obs, rtol=1e-6)
    assert env.finished[-1] == 12.0


def test_a_replay_buffer_is_relabelled(tmp_path: Path) -> None:
    from stages.control.trainer import Trainer

    changes = {"kind": "dqn", "settings": {"learning_starts": 1000, "buffer_size": 100}}
    trainer = Trainer(small_task(tmp_path, agent=changes), lambda obs, actions, true: np.full(len(obs), 7.0))
    trainer.learn(40, 0)
    buffer = trainer.agent.replay_buffer
    obs, actions = buffer.observations[:20, 0], buffer.actions[:20, 0, 0]
    assert trainer.scale is not None
    trainer.use_reward(lambda obs, actions, true: obs[:, 0] * 100 + actions[:, 1])
    expected = (obs[:, 0] * 100 + actions) / trainer.scale.std
    assert buffer.rewards[:20, 0] == pytest.approx(expected, rel=1e-4)
    pool, _ = trainer.recorder.pool()
    again = RewardScale(trainer.config.agent.gamma)
    again.refit(pool.obs[:, :, 0] * 100 + pool.actions[:, :, 1], pool.ends != GOES_ON)
    assert trainer.scale.std == pytest.approx(again.std)
    trainer.close()


def test_a_linear_learning_rate_is_that_of_the_whole_run() -> None:
    rate = LearningRate(AgentConfig(lr=0.1, lr_schedule="linear", steps=1000))
    rate.agent = SimpleNamespace(num_timesteps=250)
    assert rate(1.0) == rate(0.0) == pytest.approx(0.075)
    assert LearningRate(AgentConfig(lr=0.1))(0.0) == 0.1


def test_agents_say_which_actions_they_can_have() -> None:
    assert {name: agents.get(name).continuous for name in agents.names()} == {"ppo": True, "a2c": True, "dqn": False}
