"""Choose segments to ask about, and store a simulated teacher's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feedback_store.store import FeedbackStore
from pipeline.control.config import ControlConfig
from pipeline.control.feeds import SegmentCandidates, feeds
from pipeline.control.questions import questions
from pipeline.control.reward_ensemble import RewardEnsemble
from pipeline.control.segments import Pool, Segments, TrueRewards
from pipeline.control.streams import ControlStream, numpy_stream
from pipeline.control.teachers import teacher_of
from pipeline.errors import UserError
from pipeline.run.atomic_files import short_hash

MEAN_SEGMENTS = 1000  # random segments whose mean return a teacher's thresholds are relative to


@dataclass(frozen=True, eq=False)
class Asked:
    """The questions of a round.

    Attributes:
        starts: [Q, I] where their segments start, as flat positions in the pool.
        segments: [Q * I] in the same order.
        states: [Q * I, L, S] states of their steps.
    """

    starts: np.ndarray
    segments: Segments
    states: np.ndarray

    def clips(self, ids: Sequence[str]) -> list[tuple[str, ...]]:
        """[Q] tuples of clip ids, from the ids of all segments."""
        each = self.starts.shape[1]
        return [tuple(ids[q * each : (q + 1) * each]) for q in range(len(self.starts))]


def possible_starts(pool: Pool, length: int) -> np.ndarray:
    """Flat positions of the pool where a segment can start.

    Raises:
        UserError: there are fewer than two.
    """
    starts = np.flatnonzero(pool.lengths(length) > 0)
    if len(starts) < 2:
        raise UserError(
            f"collect.segment_length is {length}, and no two episodes in the pool have so many steps; lower it, or raise "
            "pretraining.steps"
        )
    return starts


def choose(config: ControlConfig, pool: Pool, number: int, count: int, ensemble: RewardEnsemble | None) -> Asked:
    """The questions of round `number`: of random ones, those that the strategy chooses."""
    length, each = config.collect.segment_length, questions.get(config.collect.question).segments
    random = numpy_stream(config.seed, ControlStream.QUESTIONS, number)
    possible = possible_starts(pool, length)
    starts = random.choice(possible, (count * config.collect.candidates, each))
    while each > 1 and (same := starts[:, 0] == starts[:, 1]).any():
        starts[same] = random.choice(possible, (int(same.sum()), each))
    segments, _ = pool.windows(starts.reshape(-1), length)
    returns = None
    if ensemble is not None:
        returns = ensemble.segment_returns(segments).view(len(starts), each, -1)
    obs = segments.obs.reshape(-1, pool.obs.shape[2])
    scaled = (segments.obs - obs.mean(0)) / np.maximum(obs.std(0), 1e-6)
    candidates = SegmentCandidates(returns, scaled.reshape(len(starts), -1))
    chosen = starts[feeds.get(config.collect.strategy)(count, candidates)]
    return Asked(chosen, *pool.windows(chosen.reshape(-1), length))


@dataclass
class Returns:
    """The range of true segment returns in all pools so far: the scale of a simulated teacher's ratings."""

    low: float = float("inf")
    high: float = float("-inf")

    def widen(self, returns: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(returns.min())), max(self.high, float(returns.max()))


def simulate(
    config: ControlConfig, asked: Asked, pool: Pool, true: TrueRewards, *, number: int, span: Returns
) -> list[str]:
    """Answers of the simulated teacher to the questions of round `number`; widens the span of returns."""
    length, teacher = config.collect.segment_length, teacher_of(config.collect.simulated)
    question = questions.get(config.collect.question)
    random = numpy_stream(config.seed, ControlStream.ANSWERS, number)
    some = random.choice(possible_starts(pool, length), MEAN_SEGMENTS)
    sample = true.windows(some, pool.lengths(length).reshape(-1)[some], length)
    span.widen(teacher.returns(sample))
    rewards = true.windows(asked.starts.reshape(-1), asked.segments.steps, length)
    return question.simulate(
        teacher,
        rewards.reshape(*asked.starts.shape, length),
        mean=float(sample.sum(1).mean()),
        span=(span.low, span.high),
        levels=config.collect.rating_levels,
        random=random,
    )


def store_answers(
    config: ControlConfig, store: FeedbackStore, clips: Sequence[tuple[str, ...]], answers: Sequence[str], number: int
) -> None:
    """Append a simulated teacher's answers; those of a round that was interrupted are stored already."""
    question = questions.get(config.collect.question)
    rows = []
    for place, (one, answer) in enumerate(zip(clips, answers, strict=True)):
        key = short_hash(config.name, str(config.seed), str(number), str(place), *one)
        rows.append(question.record(one, answer, annotator="simulated", source="simulated", round=number, id=key))
    store.append(rows)


def refuse_other_rounds(
    config: ControlConfig, store: FeedbackStore, clips: Sequence[tuple[str, ...]], number: int
) -> None:
    """Raise UserError if the store has a simulated teacher's answers of this round to other questions.

    They would be trained on, too, although they are of another run, or of other settings.
    """
    frame = questions.get(config.collect.question).rows(store)
    mine = frame[(frame["source"] == "simulated") & (frame["round"].astype(int) == number)]
    if not set(mine["clips"]) <= set(clips):
        raise UserError(
            f"{store.location}: has answers of round {number} about other clips, from other settings, seed or versions; set "
            f"another name for a new run, or remove {config.runs / config.name}"
        )
