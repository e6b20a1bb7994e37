"""States of environments: read while the agent acts, set again to render a segment later."""

from __future__ import annotations

import os
from typing import Any, Protocol

import numpy as np

from pipeline.control.config import EnvironmentConfig
from pipeline.control.environments import make_env
from pipeline.errors import UserError


class StateAdapter(Protocol):
    """Reads and sets the state of a family of environments."""

    def fits(self, env: Any) -> bool:
        """Whether it can do so with an unwrapped environment."""

    def read(self, env: Any) -> np.ndarray:
        """The state as a vector, float64."""

    def write(self, env: Any, state: np.ndarray) -> None:
        """Set it."""


class ClassicState:
    """Classic control keeps everything in `state`; Pendulum also draws its last torque."""

    def fits(self, env: Any) -> bool:
        return isinstance(getattr(env, "state", None), np.ndarray | tuple | list)

    def read(self, env: Any) -> np.ndarray:
        torque = np.atleast_1d(getattr(env, "last_u", None) or 0.0)
        return np.concatenate([np.asarray(env.state, dtype=np.float64), torque.astype(np.float64)])

    def write(self, env: Any, state: np.ndarray) -> None:
        env.state = state[:-1].copy()
        if hasattr(env, "last_u"):
            env.last_u = float(state[-1])


class MuJoCoState:
    """MuJoCo: positions and velocities."""

    def fits(self, env: Any) -> bool:
        return hasattr(env, "set_state") and hasattr(getattr(env, "data", None), "qpos")

    def read(self, env: Any) -> np.ndarray:
        return np.concatenate([env.data.qpos, env.data.qvel]).astype(np.float64)

    def write(self, env: Any, state: np.ndarray) -> None:
        positions = env.data.qpos.shape[0]
        env.set_state(state[:positions], state[positions:])


ADAPTERS: tuple[StateAdapter, ...] = (ClassicState(), MuJoCoState())


def adapter_for(env: Any, name: str) -> StateAdapter:
    """The adapter for an environment that was reset.

    Raises:
        UserError: its states cannot be set again, so that people cannot see its clips.
    """
    found = next((adapter for adapter in ADAPTERS if adapter.fits(env.unwrapped)), None)
    if found is None:
        raise UserError(
            f"environment.id: clips of '{name}' cannot be drawn for people, because its state cannot be set (classic control "
            "and MuJoCo can); use collect.teacher: simulated"
        )
    return found


def read_states(adapter: StateAdapter, envs: Any) -> np.ndarray:
    """States [n, S] of all environments of a DummyVecEnv."""
    return np.stack([adapter.read(env.unwrapped) for env in envs.envs])


class Renderer:
    """Draws segments; one environment is kept for all of them."""

    def __init__(self, config: EnvironmentConfig) -> None:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window is opened
        self.env = make_env(config, render_mode="rgb_array")
        self.env.reset(seed=0)
        self.adapter = adapter_for(self.env, config.id)
        self._check(config.id)
        self.fps = float(self.env.metadata.get("render_fps", 30))

    def _check(self, name: str) -> None:
        """Raise UserError if it draws nothing, e.g. because a package is missing."""
        from gymnasium.error import Error

        try:
            drawn = self.env.render()
        except Error as error:
            drawn, reason = None, " ".join(str(error).split())[:300]
        else:
            reason = f"render_mode rgb_array draws {type(drawn).__name__}"
        if not isinstance(drawn, np.ndarray):
            raise UserError(
                f"environment.id: '{name}' cannot be drawn for people ({reason}); install what it needs (pip install "
                "'image-rlhf[control]'), or use collect.teacher: simulated"
            )

    def frames(self, states: np.ndarray) -> np.ndarray:
        """Pictures [T, H, W, 3], uint8, of states [T, S]."""
        pictures = []
        for state in states:
            self.adapter.write(self.env.unwrapped, state)
            pictures.append(self.env.unwrapped.render())
        return np.stack(pictures)

    def close(self) -> None:
        self.env.close()


def render_segment(config: EnvironmentConfig, states: np.ndarray) -> np.ndarray:
    """Pictures [T, H, W, 3], uint8, of a segment's states [T, S]."""
    renderer = Renderer(config)
    try:
        return renderer.frames(states)
    finally:
        renderer.close()
