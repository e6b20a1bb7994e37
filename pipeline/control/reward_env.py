"""RewardEnv: the one wrapper between environments and agent, which replaces rewards and records what happens.

It imports stable-baselines3: import it only after `require_extra`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from pipeline.control.env_states import StateAdapter, read_states
from pipeline.control.environments import Spaces
from pipeline.control.rewards import RewardScale, RewardSource
from pipeline.control.segments import CUT, GOES_ON, TERMINATED, Recorder


class RewardEnv(VecEnvWrapper):
    """Vectorised environments whose rewards are those of `source`; the true ones are only recorded.

    Attributes:
        source: of the rewards; replaced after each reward update.
        scale: divides the rewards; None: they are used as they are.
        finished: true returns of the episodes that ended since it was last emptied.
    """

    def __init__(
        self,
        envs: VecEnv,
        spaces: Spaces,
        source: RewardSource,
        *,
        recorder: Recorder,
        scale: RewardScale | None,
        adapter: StateAdapter | None = None,
    ) -> None:
        super().__init__(envs)
        self.spaces, self.source, self.scale = spaces, source, scale
        self.recorder, self.adapter = recorder, adapter
        self.finished: list[float] = []
        self._true = np.zeros(envs.num_envs)

    def reset(self) -> Any:
        self._obs: np.ndarray = np.asarray(self.venv.reset())
        self.recorder.cut()
        self._true = np.zeros(self.num_envs)
        if self.scale:
            self.scale.restart()
        return self._obs

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = self.spaces.encode(np.asarray(actions))
        states = read_states(self.adapter, self.venv) if self.adapter else np.zeros((self.num_envs, 0))
        self._states = states
        self.venv.step_async(actions)

    def step_wait(self) -> Any:
        obs, true, done, infos = self.venv.step_wait()
        cut = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos])
        ends = np.where(done, np.where(cut, CUT, TERMINATED), GOES_ON)
        self.recorder.add(self._obs, self._actions, rewards=true, ends=ends, states=self._states)
        self._true += true
        self.finished += self._true[done].tolist()
        self._true[done] = 0.0
        rewards = self.source(self._obs, self._actions, true)
        self._obs = np.asarray(obs)
        return obs, self.scaled(rewards, done).astype(np.float32), done, infos

    def scaled(self, rewards: np.ndarray, done: np.ndarray) -> np.ndarray:
        """Rewards [n] divided by the running scale."""
        if self.scale is None:
            return rewards
        self.scale.update(rewards, done)
        return self.scale.divide(rewards)
