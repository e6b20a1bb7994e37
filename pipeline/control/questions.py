"""Questions about segments: comparisons of two clips, and ratings of one; each with its record and its likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from feedback_store import records
from feedback_store.records import Judgment
from feedback_store.registry import Registry
from feedback_store.store import FeedbackStore
from pipeline.config import RewardConfig
from pipeline.control.config import EnsembleConfig
from pipeline.control.teachers import SegmentTeacher
from pipeline.kinds.comparison import PAIR_LIKELIHOOD
from pipeline.kinds.likelihood import Likelihood
from pipeline.kinds.probabilities import TIE, A, B
from pipeline.kinds.rating import RatingLikelihood

LABEL = "better"  # what clips are judged by; the store's records name a label


class SegmentQuestion(Protocol):
    """A kind of question.

    Attributes:
        segments: number of segments per question, I.
        likelihood: of its answers, under the segments' returns as utilities.
    """

    segments: ClassVar[int]
    likelihood: ClassVar[Likelihood]

    def simulate(
        self,
        teacher: SegmentTeacher,
        rewards: np.ndarray,
        *,
        mean: float,
        span: tuple[float, float],
        levels: int,
        random: np.random.Generator,
    ) -> list[str]:
        """Answers to Q questions, from true rewards [Q, I, L] (see SegmentTeacher)."""

    def record(self, clips: Sequence[str], answer: str, **common: Any) -> Judgment: ...

    def rows(self, store: FeedbackStore) -> pd.DataFrame:
        """The store's current rows of this kind, with columns `clips` (tuples) and `answer`."""

    def encode(self, answers: Sequence[str]) -> Tensor:
        """Answer numbers [M]; -1 for those that are no answer."""

    def parameters(self, answer: Tensor, levels: int, config: EnsembleConfig) -> nn.Module:
        """The likelihood's parameters of one network, from the answers [M] to train on."""

    def utilities(self, returns: Tensor, length: int, config: EnsembleConfig) -> Tensor:
        """Utilities [N] from the returns [N] of segments of at most `length` steps."""

    def loss(self, log_p: Tensor, answer: Tensor) -> Tensor:
        """Negative log-likelihood [M] of answers [M], from log P of each possible one [M, K]."""


class ClipComparison:
    """Which of two clips is better? Bradley-Terry, or Davidson's model if there are ties."""

    segments: ClassVar[int] = 2
    likelihood: ClassVar[Likelihood] = PAIR_LIKELIHOOD

    def simulate(
        self,
        teacher: SegmentTeacher,
        rewards: np.ndarray,
        *,
        mean: float,
        span: tuple[float, float],
        levels: int,
        random: np.random.Generator,
    ) -> list[str]:
        return teacher.compare(rewards[:, 0], rewards[:, 1], mean, random)

    def record(self, clips: Sequence[str], answer: str, **common: Any) -> Judgment:
        first, second = clips
        return records.Comparison(image_a=first, label_a=LABEL, image_b=second, label_b=LABEL, choice=answer, **common)

    def rows(self, store: FeedbackStore) -> pd.DataFrame:
        frame = store.comparisons()
        clips = list(zip(frame["image_a"], frame["image_b"], strict=True))
        return frame.assign(clips=pd.Series(clips, index=frame.index, dtype=object), answer=frame["choice"])

    def encode(self, answers: Sequence[str]) -> Tensor:
        numbers = {"a": A, "b": B, "tie": TIE}
        return torch.tensor([numbers.get(answer, -1) for answer in answers], dtype=torch.long)

    def parameters(self, answer: Tensor, levels: int, config: EnsembleConfig) -> nn.Module:
        modelled = answer if config.ties == "davidson" else answer[answer != TIE]
        return PAIR_LIKELIHOOD.parameters(modelled, 2, RewardConfig())

    def utilities(self, returns: Tensor, length: int, config: EnsembleConfig) -> Tensor:
        return returns

    def loss(self, log_p: Tensor, answer: Tensor) -> Tensor:
        half = answer >= log_p.shape[1]  # a tie without a model of ties
        chosen = log_p.gather(1, answer.clamp_max(log_p.shape[1] - 1)[:, None])[:, 0]
        return -torch.where(half, log_p[:, :2].mean(1), chosen)


class ClipRating:
    """How good is this clip, 1 to K? The ordinal logit, or squared error of the mean reward."""

    segments: ClassVar[int] = 1
    likelihood: ClassVar[Likelihood] = RatingLikelihood()

    def simulate(
        self,
        teacher: SegmentTeacher,
        rewards: np.ndarray,
        *,
        mean: float,
        span: tuple[float, float],
        levels: int,
        random: np.random.Generator,
    ) -> list[str]:
        return teacher.rate(rewards[:, 0], span, levels, random)

    def record(self, clips: Sequence[str], answer: str, **common: Any) -> Judgment:
        return records.rating(clips[0], LABEL, int(answer), **common)

    def rows(self, store: FeedbackStore) -> pd.DataFrame:
        frame = store.per_image_judgments("rating")
        return frame.assign(clips=pd.Series([(one,) for one in frame["image"]], index=frame.index, dtype=object))

    def encode(self, answers: Sequence[str]) -> Tensor:
        return torch.tensor([int(answer) - 1 if answer.isdigit() else -1 for answer in answers], dtype=torch.long)

    def parameters(self, answer: Tensor, levels: int, config: EnsembleConfig) -> nn.Module:
        return self.likelihood.parameters(answer, levels, RewardConfig(rating=config.rating))

    def utilities(self, returns: Tensor, length: int, config: EnsembleConfig) -> Tensor:
        return returns / length if config.rating == "scalar" else returns

    def loss(self, log_p: Tensor, answer: Tensor) -> Tensor:
        return -log_p.gather(1, answer[:, None])[:, 0]


questions: Registry[SegmentQuestion] = Registry("question about segments", "image_rlhf.segment_questions")
questions.register("clip_comparison", ClipComparison())
questions.register("clip_rating", ClipRating())
