"""Vectorised environments of gymnasium, and observations and actions as vectors for the reward model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.control.config import EnvironmentConfig
from pipeline.control.extra import require_extra
from pipeline.errors import UserError

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True)
class Spaces:
    """Sizes of observations and actions.

    Attributes:
        observation: D.
        actions: number of discrete actions; 0 for continuous ones.
        low, high: [A] limits of continuous actions; empty for discrete ones.
        max_steps: of an episode; None if it has no limit.
    """

    observation: int
    actions: int
    low: np.ndarray
    high: np.ndarray
    max_steps: int | None = None

    @property
    def action(self) -> int:
        """A: length of an encoded action."""
        return self.actions or len(self.low)

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Actions [n] or [n, A] as [n, A] float32: one-hot, or scaled to -1..1."""
        if self.actions:
            return np.eye(self.actions, dtype=np.float32)[actions.reshape(-1)]
        half = (self.high - self.low) / 2
        return ((actions.reshape(len(actions), -1) - self.low) / half - 1).astype(np.float32)


def make_env(config: EnvironmentConfig, **more: Any) -> Any:
    """One environment.

    Raises:
        UserError: gymnasium has no such environment, or cannot make it.
    """
    require_extra()
    import gymnasium

    try:
        return gymnasium.make(config.id, **{**config.settings, **more})
    except (gymnasium.error.Error, ImportError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"environment.id: gymnasium cannot make '{config.id}' ({reason}); use e.g. CartPole-v1, or install what it needs"
        ) from None


def make_envs(config: EnvironmentConfig, count: int | None = None) -> VecEnv:
    """`count` environments, default `environment.n_envs`, in this process."""
    require_extra()
    from stable_baselines3.common.vec_env import DummyVecEnv

    return DummyVecEnv([lambda: make_env(config) for _ in range(count or config.n_envs)])


def read_spaces(env: Any, name: str) -> Spaces:
    """The sizes of an environment's spaces.

    Raises:
        UserError: observations or actions that no reward model r(s, a) is made for here.
    """
    from gymnasium.spaces import Box, Discrete

    observation, action = env.observation_space, env.action_space
    if not isinstance(observation, Box) or len(observation.shape) != 1:
        raise UserError(
            f"environment.id: '{name}' observes {observation}; control tasks need a vector of numbers (a flat Box)"
        )
    limit = env.spec.max_episode_steps if env.spec else None
    if isinstance(action, Discrete) and int(action.start) == 0:
        return Spaces(observation.shape[0], int(action.n), np.zeros(0), np.zeros(0), limit)
    if isinstance(action, Box) and len(action.shape) == 1 and np.isfinite([action.low, action.high]).all():
        return Spaces(observation.shape[0], 0, action.low.astype(np.float64), action.high.astype(np.float64), limit)
    raise UserError(
        f"environment.id: '{name}' has actions {action}; control tasks need numbered actions (Discrete) or a vector within "
        "finite limits (Box)"
    )
