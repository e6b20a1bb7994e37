"""Must-learn: from comparisons alone, an agent learns to do what a small environment rewards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.control_tasks import needs_control, small_task

pytestmark = [needs_control, pytest.mark.long]

STEPS = 10  # of an episode


@pytest.fixture(autouse=True)
def signs() -> Iterator[None]:
    """Signs-v0: a reward of 1 for the action that has the sign of the observation; ten steps."""
    import gymnasium
    from gymnasium.spaces import Box, Discrete

    class Signs(gymnasium.Env):  # type: ignore[misc, type-arg]
        observation_space, action_space = Box(-1, 1, (2,)), Discrete(2)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.left, self.state = STEPS, self.np_random.uniform(-1, 1, 2)
            return self.state.astype(np.float32), {}

        def step(self, action: int) -> Any:
            reward, self.left = float((self.state[0] > 0) == action), self.left - 1
            self.state = self.np_random.uniform(-1, 1, 2)
            return self.state.astype(np.float32), reward, False, self.left == 0, {}

    gymnasium.register("Signs-v0", entry_point=Signs)
    yield
    del gymnasium.registry["Signs-v0"]


@pytest.mark.parametrize(
    ("agent", "collect"),
    [
        ({"kind": "ppo", "lr": 0.003, "settings": {"n_steps": 64, "batch_size": 64}}, {"strategy": "disagreement"}),
        ({"kind": "a2c", "lr": 0.003, "settings": {"n_steps": 16}}, {"strategy": "entropy"}),
        (
            {
                "kind": "dqn",
                "lr": 0.003,
                "settings": {"learning_starts": 100, "train_freq": 2, "target_update_interval": 100},
            },
            {"strategy": "uniform", "question": "clip_rating"},
        ),
    ],
)
def test_an_agent_learns_from_answers(tmp_path: Path, agent: dict[str, Any], collect: dict[str, Any]) -> None:
    from stages.control.run import run

    config = small_task(
        tmp_path,
        environment={"id": "Signs-v0", "n_envs": 4},
        agent={"steps": 4000, "gamma": 0.5, **agent},
        pretraining={"steps": 512, "reward": "none"},
        collect={"count": 120, "segment_length": 5, **collect},
        reward={"members": 2, "hidden": [16], "epochs": 60, "lr": 0.01},
        evaluation={"episodes": 20},
        baseline={"true_reward": False},
    )
    result = run(config, lambda _: None)
    assert result["random_return"] == pytest.approx(STEPS / 2, abs=1.2)
    assert result["true_return"] > 0.9 * STEPS
