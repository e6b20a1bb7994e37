"""Trainer: environments, agent and reward scale, trained up to a number of steps; its state is one checkpoint.

Each part of a run (pre-training, and every round) starts with freshly reset environments and random streams of its own.
So neither the environments' states nor random streams need to be saved, whatever the environment is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pipeline.control.agents import agents, check_agent
from pipeline.control.config import ControlConfig
from pipeline.control.env_states import adapter_for
from pipeline.control.environments import make_env, make_envs, read_spaces
from pipeline.control.rewards import RewardScale, RewardSource
from pipeline.control.segments import Recorder
from pipeline.control.streams import ControlStream, numpy_stream, seed_number

State = dict[str, Any]


class Trainer:
    """An agent and its environments.

    Attributes:
        recorder: has the newest steps.
    """

    def __init__(self, config: ControlConfig, source: RewardSource, *, keep_states: bool = False) -> None:
        from pipeline.control.reward_env import RewardEnv

        self.config = config
        self.kind = agents.get(config.agent.kind)
        probe = make_env(config.environment)
        self.spaces = read_spaces(probe, config.environment.id)
        check_agent(config.agent, self.spaces)
        probe.reset(seed=0)
        adapter = adapter_for(probe, config.environment.id) if keep_states else None
        probe.close()
        self.recorder = Recorder(max(1, config.collect.pool_steps // config.environment.n_envs))
        self.scale = RewardScale(config.agent.gamma) if config.agent.normalise else None
        self.env = RewardEnv(
            make_envs(config.environment),
            self.spaces,
            source,
            recorder=self.recorder,
            scale=self.scale,
            adapter=adapter,
        )
        self.agent = self.kind.build(self.env, config.agent, seed_number(config.seed, ControlStream.AGENT))
        if not (self.agent.verbose or self.agent.tensorboard_log):
            keep_no_log(self.agent)

    @property
    def steps(self) -> int:
        """Environment steps so far."""
        return int(self.agent.num_timesteps)

    def restart(self, part: int) -> None:
        """Reset the environments, and seed all random streams for a part of the run, numbered from 0."""
        from stable_baselines3.common.utils import set_random_seed

        set_random_seed(seed_number(self.config.seed, ControlStream.AGENT, part + 1))
        self.agent.action_space.seed(seed_number(self.config.seed, ControlStream.RANDOM_ACTIONS, part))
        self.env.seed(seed_number(self.config.seed, ControlStream.ENVIRONMENTS, part))
        self.agent._last_obs = None  # stable-baselines3 resets the environments then

    def learn(self, until: int, part: int) -> None:
        """Train until at least so many environment steps; nothing if there are as many already."""
        self.restart(part)
        self.agent._total_timesteps = self.config.agent.steps
        if until > self.steps:
            self.agent.learn(
                until - self.steps, callback=self._of_whole_run(), reset_num_timesteps=False, log_interval=None
            )
        self.recorder.cut()

    def _of_whole_run(self) -> Any:
        """A callback with which schedules are those of the whole run, not of one round."""
        from stable_baselines3.common.callbacks import BaseCallback

        whole = self.config.agent.steps

        class WholeRun(BaseCallback):
            def _on_training_start(self) -> None:
                self.model._total_timesteps = whole

            def _on_step(self) -> bool:
                return True

        return WholeRun()

    def act_at_random(self, until: int, part: int) -> None:
        """Random actions, without learning, until at least so many environment steps."""
        self.restart(part)
        self.env.reset()
        random = numpy_stream(self.config.seed, ControlStream.RANDOM_ACTIONS, part)
        while self.steps < until:
            self.env.step(random_actions(self.env.action_space, self.env.num_envs, random))
            self.agent.num_timesteps += self.env.num_envs
        self.recorder.cut()

    def use_reward(self, source: RewardSource) -> None:
        """Another reward: of future steps, of the scale, and of stored transitions (relabelling)."""
        self.env.source = source
        pool, _ = self.recorder.pool()
        if self.scale:
            flat = (pool.obs.reshape(-1, pool.obs.shape[2]), pool.actions.reshape(-1, pool.actions.shape[2]))
            rewards = source(*flat, np.zeros(len(flat[0]))).reshape(pool.ends.shape)
            self.scale.refit(rewards, pool.ends != 0)
        self.kind.relabel(self.agent, self.spaces, source, self.scale.std if self.scale else 1.0)

    def state(self) -> State:
        recorded = {name: torch.from_numpy(array) for name, array in self.recorder.state().items()}
        scale = self.scale.state() if self.scale else {}
        return {"agent": self.kind.state(self.agent), "recorder": recorded, "scale": scale}

    def restore(self, saved: State) -> None:
        self.kind.restore(self.agent, saved["agent"])
        self.recorder.restore({name: tensor.numpy() for name, tensor in saved["recorder"].items()})
        if self.scale:
            self.scale.restore(saved["scale"])

    def close(self) -> None:
        self.env.close()


def keep_no_log(agent: Any) -> None:
    """Give an agent a logger without outputs: stable-baselines3's own makes a temporary folder and never removes it."""
    from stable_baselines3.common.logger import Logger

    agent.set_logger(Logger(folder=None, output_formats=[]))


def random_actions(space: Any, count: int, random: np.random.Generator) -> np.ndarray:
    """[count, ...] actions drawn uniformly."""
    if hasattr(space, "n"):
        return random.integers(0, space.n, count)
    return random.uniform(space.low, space.high, (count, *space.shape)).astype(space.dtype)
