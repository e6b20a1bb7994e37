"""True returns of an agent, and of random actions, in environments of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.control.config import ControlConfig
from pipeline.control.environments import make_envs
from pipeline.control.streams import ControlStream, numpy_stream, seed_number
from stages.control.trainer import random_actions

MAX_STEPS = 100_000  # of an episode without a limit


def true_returns(config: ControlConfig, act: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """[episodes] true returns; the same first states for every agent of a seed.

    Args:
        act: actions [n, ...] for observations [n, D].
    """
    count = config.evaluation.episodes
    envs = make_envs(config.environment, count)
    envs.seed(seed_number(config.seed, ControlStream.EVALUATION))
    obs, returns, running = np.asarray(envs.reset()), np.zeros(count), np.ones(count, dtype=bool)
    for _ in range(MAX_STEPS):
        obs, rewards, done, _ = envs.step(act(obs))
        returns += np.where(running, rewards, 0.0)
        running &= ~done
        if not running.any():
            break
    envs.close()
    return returns


def agent_returns(config: ControlConfig, agent: Any) -> np.ndarray:
    """[episodes] true returns of an agent that takes its most probable actions."""
    return true_returns(config, lambda obs: np.asarray(agent.predict(obs, deterministic=True)[0]))


def random_returns(config: ControlConfig, space: Any) -> np.ndarray:
    """[episodes] true returns of random actions."""
    random = numpy_stream(config.seed, ControlStream.EVALUATION)
    return true_returns(config, lambda obs: random_actions(space, len(obs), random))
