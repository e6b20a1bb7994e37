"""Simulated teachers of segments, with B-Pref's irrationalities (Lee et al. 2021).

A teacher sees the true rewards of both segments. Its formulas are those of B-Pref, except that segments of exactly equal
return are a tie for a perfectly rational teacher, and that thresholds also work where returns are negative.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from feedback_store.registry import Registry
from pipeline.control.config import SegmentTeacherConfig


@dataclass(frozen=True)
class SegmentTeacher:
    """How a teacher compares and rates segments.

    Attributes:
        beta: rationality; -1 always prefers the larger return.
        gamma: myopia; the reward of step t of T counts gamma^(T - 1 - t).
        eps_mistake: probability of the opposite answer, or of another level.
        eps_skip: no answer if neither return reaches this times the mean return of a segment.
        eps_equal: a tie if the returns differ by less than this times the mean return of a segment.
    """

    beta: float = -1.0
    gamma: float = 1.0
    eps_mistake: float = 0.0
    eps_skip: float = 0.0
    eps_equal: float = 0.0

    def returns(self, rewards: np.ndarray) -> np.ndarray:
        """[N] sums of rewards [N, L], in which recent ones count more."""
        length = rewards.shape[1]
        return np.asarray((rewards * self.gamma ** np.arange(length - 1, -1, -1.0)).sum(1))

    def prob_a(self, rewards_a: np.ndarray, rewards_b: np.ndarray) -> np.ndarray:
        """[Q] probability that the first segment is preferred, before mistakes."""
        difference = self.returns(rewards_a) - self.returns(rewards_b)
        if self.beta == -1:
            return np.where(difference == 0, 0.5, (difference > 0).astype(float))
        return np.asarray(1 / (1 + np.exp(-np.clip(self.beta * difference, -500, 500))))

    def compare(
        self, rewards_a: np.ndarray, rewards_b: np.ndarray, mean: float, random: np.random.Generator
    ) -> list[str]:
        """Choices [Q] of `a`, `b`, `tie` or `cant_tell`.

        Args:
            rewards_a, rewards_b: [Q, L] true rewards.
            mean: mean return of segments of the pool.
        """
        draws = random.random((2, len(rewards_a)))  # as many for every teacher, so that answers can be compared
        prefers_a = draws[0] < self.prob_a(rewards_a, rewards_b)
        choice = np.where(prefers_a ^ (draws[1] < self.eps_mistake), "a", "b").astype("<U9")
        plain_a, plain_b = rewards_a.sum(1), rewards_b.sum(1)
        choice[np.abs(plain_a - plain_b) < self.eps_equal * abs(mean)] = "tie"
        if self.beta == -1:
            choice[self.returns(rewards_a) == self.returns(rewards_b)] = "tie"
        if self.eps_skip:
            choice[np.maximum(plain_a, plain_b) < mean - (1 - self.eps_skip) * abs(mean)] = "cant_tell"
        return [str(one) for one in choice]

    def rate(
        self, rewards: np.ndarray, span: tuple[float, float], levels: int, random: np.random.Generator
    ) -> list[str]:
        """Levels [Q] of 1 to `levels`: equal parts of the span of returns; a mistake is another level."""
        low, high = span
        share = (self.returns(rewards) - low) / (high - low) if high > low else np.full(len(rewards), 0.5)
        level = np.clip(np.floor(share * levels).astype(int) + 1, 1, levels)
        mistaken = random.random(len(rewards)) < self.eps_mistake
        other = (level - 1 + random.integers(1, levels, len(rewards))) % levels + 1
        return [str(number) for number in np.where(mistaken, other, level)]


segment_teachers: Registry[SegmentTeacher] = Registry("simulated teacher", "image_rlhf.segment_teachers")
segment_teachers.register("oracle", SegmentTeacher())
segment_teachers.register("mistake", SegmentTeacher(eps_mistake=0.1))
segment_teachers.register("noisy", SegmentTeacher(beta=1.0))
segment_teachers.register("myopic", SegmentTeacher(gamma=0.9))
segment_teachers.register("skip", SegmentTeacher(eps_skip=0.1))
segment_teachers.register("equal", SegmentTeacher(eps_equal=0.1))
segment_teachers.register("custom", SegmentTeacher())


def teacher_of(config: SegmentTeacherConfig) -> SegmentTeacher:
    """The named teacher, with the parameters that the configuration sets."""
    changed = {field.name: getattr(config, field.name) for field in fields(SegmentTeacher)}
    return replace(segment_teachers.get(config.name), **{k: v for k, v in changed.items() if v is not None})
