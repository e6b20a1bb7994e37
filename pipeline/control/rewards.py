"""The rewards an agent learns from: true, learned, or state entropy; and their scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pipeline.control.reward_ensemble import RewardEnsemble

CLIP = 10.0  # largest reward after division by the scale, as in stable-baselines3's VecNormalize


class RewardSource(Protocol):
    def __call__(self, obs: np.ndarray, actions: np.ndarray, true: np.ndarray) -> np.ndarray:
        """Rewards [n] of a step of n environments.

        Args:
            obs: [n, D] before the step.
            actions: [n, A], encoded.
            true: [n] the environment's own rewards.
        """


def true_reward(obs: np.ndarray, actions: np.ndarray, true: np.ndarray) -> np.ndarray:
    """The environment's own reward: what learning from preferences is compared with."""
    return true.astype(np.float64)


@dataclass(frozen=True, eq=False)
class LearnedReward:
    """The reward model's; the true rewards are not used."""

    ensemble: RewardEnsemble
    pessimism: float = 0.0

    def __call__(self, obs: np.ndarray, actions: np.ndarray, true: np.ndarray) -> np.ndarray:
        return self.ensemble.reward(obs.astype(np.float32), actions, self.pessimism)


@dataclass(eq=False)
class StateEntropy:
    """log(1 + distance to the k-th nearest visited state): a particle estimate of the entropy of visited states.

    Liu and Abbeel (2021), Lee et al. (2021). Components are divided by their standard deviation over the visited states.

    Attributes:
        neighbours: k.
        limit: number of visited states kept; the oldest are replaced.
    """

    neighbours: int
    limit: int
    states: np.ndarray | None = None
    count: int = 0

    def __call__(self, obs: np.ndarray, actions: np.ndarray, true: np.ndarray) -> np.ndarray:
        if self.states is None:
            self.states = np.zeros((self.limit, obs.shape[1]))
        visited = self.states[: min(self.count, self.limit)]
        rewards = np.zeros(len(obs))
        if len(visited) > self.neighbours:
            rewards = state_entropy(obs, visited, self.neighbours)
        self.states[(self.count + np.arange(len(obs))) % self.limit] = obs
        self.count += len(obs)
        return rewards


def state_entropy(obs: np.ndarray, visited: np.ndarray, neighbours: int) -> np.ndarray:
    """[n] log(1 + distance from each of [n, D] to its k-th nearest of [S, D])."""
    scale = np.maximum(visited.std(0), 1e-6)
    distance = np.sqrt(np.square((obs[:, None] - visited) / scale).sum(2))
    return np.log1p(np.partition(distance, neighbours - 1, axis=1)[:, neighbours - 1])


@dataclass
class RewardScale:
    """The standard deviation of discounted sums of rewards, by which rewards are divided (as VecNormalize does).

    The mean is not subtracted: in a task that may terminate, an offset of all rewards changes the optimal policy.

    Attributes:
        gamma: discount factor.
        count, mean, squares: of all sums so far; `squares` adds up squared deviations from the mean (Welford).
        sums: [n] discounted sum of the present episode of each environment.
    """

    gamma: float
    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def std(self) -> float:
        return float(np.sqrt(self.squares / self.count)) if self.count > 1 and self.squares > 0 else 1.0

    def update(self, rewards: np.ndarray, done: np.ndarray) -> None:
        """One step of n environments: rewards [n], and whether their episodes ended [n]."""
        if len(self.sums) != len(rewards):
            self.sums = np.zeros(len(rewards))
        self.sums = self.gamma * self.sums + rewards
        total = self.count + len(rewards)
        change = self.sums.mean() - self.mean
        self.squares += len(rewards) * self.sums.var() + change**2 * self.count * len(rewards) / total
        self.mean += float(change * len(rewards) / total)
        self.count = total
        self.sums = np.where(done, 0.0, self.sums)

    def refit(self, rewards: np.ndarray, ends: np.ndarray) -> None:
        """Start again with relabelled rewards [T, n] of earlier steps, of which `ends` [T, n] ended an episode."""
        self.count = self.mean = self.squares = 0.0
        self.sums = np.zeros(rewards.shape[1])
        for now, done in zip(rewards, ends, strict=True):
            self.update(now, done)
        self.restart()

    def restart(self) -> None:
        """The environments are reset."""
        self.sums = np.zeros_like(self.sums)

    def divide(self, rewards: np.ndarray) -> np.ndarray:
        return np.clip(rewards / (self.std + 1e-8), -CLIP, CLIP)

    def state(self) -> dict[str, Any]:
        return {"count": float(self.count), "mean": float(self.mean), "squares": float(self.squares)}

    def restore(self, saved: dict[str, Any]) -> None:
        self.count, self.mean, self.squares = saved["count"], saved["mean"], saved["squares"]
