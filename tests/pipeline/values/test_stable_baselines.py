"""The chain by independent learners: stable-baselines3's A2C, PPO and DQN find the same policy and values."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.run.runtime import generator
from pipeline.values.environments import LEFT, RIGHT, Chain

gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium")

BEST = [LEFT, RIGHT, RIGHT, RIGHT, RIGHT]
ROLLOUT = {"n_steps": 16, "gamma": 0.9, "gae_lambda": 0.95, "learning_rate": 0.02, "ent_coef": 0.01}
SETTINGS: dict[str, dict[str, Any]] = {
    "A2C": {**ROLLOUT, "use_rms_prop": False},
    "PPO": {**ROLLOUT, "batch_size": 64, "n_epochs": 4},
    "DQN": {
        "gamma": 0.9,
        "learning_rate": 0.01,
        "learning_starts": 100,
        "target_update_interval": 100,
        "exploration_fraction": 0.5,
        "exploration_final_eps": 0.3,
    },
}
STEPS = {"A2C": 30_000, "PPO": 6_000, "DQN": 6_000}


class OneChain(gymnasium.Env):  # type: ignore[misc, name-defined]
    """The chain behind gymnasium's interface."""

    observation_space = gymnasium.spaces.Box(0, 1, (5,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, number: int = 0) -> None:
        self.chain = Chain(1, generator(number))

    def _seen(self) -> np.ndarray:
        return np.eye(5, dtype=np.float32)[int(self.chain.state)]

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.chain.reset()
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        after = self.chain.step(torch.tensor([int(action)]))
        return self._seen(), float(after.reward), bool(after.terminal), False, {}


@pytest.mark.long
@pytest.mark.parametrize("name", ["A2C", "PPO", "DQN"])
def test_stable_baselines_agrees(name: str) -> None:
    sb3 = pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    chains = sb3.common.vec_env.DummyVecEnv([partial(OneChain, number) for number in range(1 if name == "DQN" else 8)])
    model = getattr(sb3, name)("MlpPolicy", chains, seed=0, device="cpu", verbose=0, **SETTINGS[name])
    model.learn(STEPS[name])
    states = np.eye(5, dtype=np.float32)
    assert model.predict(states, deterministic=True)[0].tolist() == BEST
    with torch.no_grad():
        if name == "DQN":
            values = model.q_net(torch.from_numpy(states)).amax(-1)
        else:
            values = model.policy.predict_values(torch.from_numpy(states))[:, 0]
    assert values.tolist() == pytest.approx([0.7, 0.729, 0.81, 0.9, 1.0], abs=0.06)
