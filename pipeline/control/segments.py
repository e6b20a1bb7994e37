"""Segments: windows of consecutive steps of one episode, and the pool of recent steps that they are drawn from.

True rewards are a separate object, `TrueRewards`: the simulated teacher and evaluation have them, the learner does not.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError
from pipeline.run.atomic_files import write_atomically

GOES_ON, TERMINATED, CUT = 0, 1, 2  # after a step: the episode goes on, ended by itself, or was cut (time limit, round)


@dataclass(frozen=True, eq=False)
class Segments:
    """N windows of at most L steps; where an episode terminated earlier, the rest is zero and does not count.

    Attributes:
        obs: [N, L, D] float32.
        actions: [N, L, A] float32, encoded.
        steps: [N] number of steps that count, 1 to L.
    """

    obs: np.ndarray
    actions: np.ndarray
    steps: np.ndarray

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def mask(self) -> np.ndarray:
        """[N, L] float32: 1 for steps that count."""
        return (np.arange(self.obs.shape[1]) < self.steps[:, None]).astype(np.float32)

    def pick(self, rows: np.ndarray) -> Segments:
        return Segments(self.obs[rows], self.actions[rows], self.steps[rows])

    def ids(self) -> list[str]:
        """`clip-` and 16 digits of the hash of what happens in each."""
        return [
            "clip-" + hashlib.sha256(obs[:n].tobytes() + actions[:n].tobytes()).hexdigest()[:16]
            for obs, actions, n in zip(self.obs, self.actions, self.steps, strict=True)
        ]


def save_segments(segments: Segments, ids: Sequence[str], folder: Path) -> None:
    """Write folder/<id>.npz of each segment that is not there yet."""
    for number, name in enumerate(ids):
        path = folder / f"{name}.npz"
        if path.is_file():
            continue
        out = io.BytesIO()
        one = segments.pick(np.array([number]))
        np.savez(out, obs=one.obs[0], actions=one.actions[0], steps=one.steps[0])
        write_atomically(path, out.getvalue())


def load_segments(ids: Sequence[str], folder: Path) -> Segments:
    """Segments by their ids.

    Raises:
        UserError: a file is missing or damaged.
    """
    found: list[Any] = []
    for name in ids:
        path = folder / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                found.append((file["obs"], file["actions"], file["steps"]))
        except (OSError, ValueError, KeyError, EOFError) as error:
            reason = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
            raise UserError(
                f"{path}: {reason}; judgments are about this clip, restore it, or remove its run and start again"
            ) from None
    obs, actions, steps = zip(*found, strict=True)
    return Segments(np.stack(obs), np.stack(actions), np.stack(steps))


@dataclass(frozen=True, eq=False)
class Pool:
    """The newest steps of n environments, T each.

    Attributes:
        obs: [T, n, D] float32, before the step.
        actions: [T, n, A] float32, encoded.
        ends: [T, n] int8: GOES_ON, TERMINATED or CUT.
        states: [T, n, S] float64 states before the step, for rendering; S is 0 if they are not kept.
    """

    obs: np.ndarray
    actions: np.ndarray
    ends: np.ndarray
    states: np.ndarray

    def lengths(self, length: int) -> np.ndarray:
        """[T, n] number of steps of the window that starts at each step; 0 where none of `length` steps can start.

        A window is shorter than `length` only if the episode terminates in it: being cut says nothing about the agent.
        """
        steps, envs = self.ends.shape
        left, kind = np.zeros(envs, dtype=np.int64), np.full(envs, CUT)
        found = np.zeros((steps, envs), dtype=np.int64)
        for t in range(steps - 1, -1, -1):
            ends = self.ends[t] != GOES_ON
            left, kind = np.where(ends, 1, left + 1), np.where(ends, self.ends[t], kind)
            found[t] = np.where(left >= length, length, np.where(kind == TERMINATED, left, 0))
        return found

    def windows(self, starts: np.ndarray, length: int) -> tuple[Segments, np.ndarray]:
        """Segments that start at flat positions [N] of [T, n], and the states [N, L, S] of their steps."""
        steps = self.lengths(length).reshape(-1)[starts]
        time, env = starts // self.ends.shape[1], starts % self.ends.shape[1]
        at = np.minimum(time[:, None] + np.arange(length), len(self.ends) - 1)
        within = (np.arange(length) < steps[:, None])[:, :, None]
        obs = np.where(within, self.obs[at, env[:, None]], np.float32(0))
        actions = np.where(within, self.actions[at, env[:, None]], np.float32(0))
        last = np.minimum(np.arange(length), steps[:, None] - 1)  # a clip that ends earlier stays at its last picture
        return Segments(obs, actions, steps), self.states[
            np.minimum(time[:, None] + last, len(self.ends) - 1), env[:, None]
        ]


@dataclass(frozen=True, eq=False)
class TrueRewards:
    """True rewards [T, n] of the pool's steps: for the simulated teacher and evaluation only."""

    values: np.ndarray

    def windows(self, starts: np.ndarray, steps: np.ndarray, length: int) -> np.ndarray:
        """[N, L] rewards of the windows; zero after the episode ended."""
        time, env = starts // self.values.shape[1], starts % self.values.shape[1]
        at = np.minimum(time[:, None] + np.arange(length), len(self.values) - 1)
        return np.where(np.arange(length) < steps[:, None], self.values[at, env[:, None]], 0.0)


@dataclass
class Recorder:
    """Collects the steps of vectorised environments; keeps the newest.

    Attributes:
        limit: number of steps kept of each environment.
    """

    limit: int
    obs: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[np.ndarray] = field(default_factory=list)
    ends: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)

    def add(
        self, obs: np.ndarray, actions: np.ndarray, *, rewards: np.ndarray, ends: np.ndarray, states: np.ndarray
    ) -> None:
        """One step of all environments."""
        row = (obs.astype(np.float32), actions, rewards.astype(np.float64), ends.astype(np.int8), states)
        for kept, value in zip(self._lists(), row, strict=True):
            kept.append(np.array(value))
            if len(kept) > 2 * self.limit:
                del kept[: -self.limit]

    def cut(self) -> None:
        """The environments are reset: what goes on is cut."""
        if self.ends:
            self.ends[-1] = np.where(self.ends[-1] == GOES_ON, CUT, self.ends[-1]).astype(np.int8)

    def pool(self) -> tuple[Pool, TrueRewards]:
        obs, actions, rewards, ends, states = (np.stack(kept[-self.limit :]) for kept in self._lists())
        return Pool(obs, actions, ends, states), TrueRewards(rewards)

    def state(self) -> dict[str, np.ndarray]:
        """What the next rounds need, as arrays."""
        pool, true = self.pool()
        return {
            "obs": pool.obs,
            "actions": pool.actions,
            "rewards": true.values,
            "ends": pool.ends,
            "states": pool.states,
        }

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        self.obs, self.actions, self.rewards = (list(saved[name]) for name in ("obs", "actions", "rewards"))
        self.ends, self.states = list(saved["ends"]), list(saved["states"])

    def _lists(self) -> tuple[list[np.ndarray], ...]:
        return self.obs, self.actions, self.rewards, self.ends, self.states
