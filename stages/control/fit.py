"""Train the reward ensemble on all judgments so far; held-out ones decide when each network stops."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from feedback_store.store import FeedbackStore
from pipeline.control.config import ControlConfig
from pipeline.control.environments import Spaces
from pipeline.control.questions import SegmentQuestion, questions
from pipeline.control.reward_ensemble import RewardEnsemble, as_tensors
from pipeline.control.segments import Segments, load_segments
from pipeline.control.streams import ControlStream, torch_stream
from pipeline.errors import UserError
from pipeline.kinds.probabilities import TIE

LIKELIHOOD_LR = 10.0  # times the networks' learning rate: a single number, such as that of ties, has far to go


@dataclass(frozen=True, eq=False)
class SegmentJudgments:
    """M judgments about U segments; without true rewards.

    Attributes:
        segments: U.
        clips: [U] their ids.
        rows: [M, I] positions of the segments asked about.
        answer: [M] answer numbers.
        heldout: [M] bool.
    """

    segments: Segments
    clips: list[str]
    rows: Tensor
    answer: Tensor
    heldout: Tensor

    def __len__(self) -> int:
        return len(self.answer)


def read_judgments(config: ControlConfig, store: FeedbackStore, folder: Path, number: int) -> SegmentJudgments:
    """All current answers up to round `number`; a judgment stays held out in all rounds.

    Raises:
        UserError: no answers.
    """
    question = questions.get(config.collect.question)
    frame = question.rows(store)
    frame = frame[frame["round"].astype(int) <= number]
    answer = question.encode(frame["answer"].tolist())
    kept = np.flatnonzero((answer >= 0).numpy())
    if not len(kept):
        raise UserError(
            f"{store.location}: no answers to train on; a teacher who skips fewer questions is needed (collect.simulated)"
        )
    asked = [frame["clips"].iloc[place] for place in kept]
    clips = sorted({clip for one in asked for clip in one})
    place_of = {clip: place for place, clip in enumerate(clips)}
    rows = torch.tensor([[place_of[clip] for clip in one] for one in asked])
    heldout = torch.tensor([_share(one) < config.reward.heldout_fraction for one in asked])
    if heldout.all():
        heldout[0] = False
    return SegmentJudgments(load_segments(clips, folder), clips, rows, answer[torch.from_numpy(kept)], heldout)


def _share(clips: Sequence[str]) -> float:
    """A number in 0..1 that depends on nothing but the clips asked about: not on the run's name, or the sides' order."""
    return int(hashlib.sha256(" ".join(sorted(clips)).encode()).hexdigest()[:8], 16) / 2**32


@dataclass(frozen=True, eq=False)
class FittedReward:
    """The trained ensemble.

    Attributes:
        parameters: of the likelihood, of each network.
        epochs: [M] after which each network was best on held-out judgments.
        heldout: number of held-out judgments.
        agreement: share of held-out judgments, ties left out, that it predicts; None if there are none.
        log_loss: of held-out judgments, in nats; None likewise.
    """

    ensemble: RewardEnsemble
    parameters: nn.ModuleList
    epochs: list[int]
    heldout: int
    agreement: float | None
    log_loss: float | None


def fit(config: ControlConfig, judgments: SegmentJudgments, spaces: Spaces, number: int) -> FittedReward:
    """Train the networks on the judgments from random initial weights; the same judgments and seed give the same ones."""
    settings, question = config.reward, questions.get(config.collect.question)
    random = torch_stream(config.seed, ControlStream.REWARD, number)
    ensemble = RewardEnsemble(spaces.observation, spaces.action, settings.hidden, settings.members, random)
    counted = torch.from_numpy(judgments.segments.mask).bool()
    ensemble.standardise(torch.from_numpy(judgments.segments.obs)[counted])
    train, heldout = (torch.nonzero(side).flatten() for side in (~judgments.heldout, judgments.heldout))
    levels = config.collect.rating_levels
    parameters = nn.ModuleList(
        question.parameters(judgments.answer[train], levels, settings) for _ in range(settings.members)
    )
    groups: list[dict[str, Any]] = [{"params": list(ensemble.parameters())}]
    if own := [one for one in parameters.parameters() if one.requires_grad]:
        groups.append({"params": own, "lr": settings.lr * LIKELIHOOD_LR, "weight_decay": 0.0})
    optimiser = torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay)
    best = Best(settings.members)
    for epoch in range(1, settings.epochs + 1):
        for batch in train[torch.randperm(len(train), generator=random)].split(settings.batch_size):
            loss = losses(config, question, ensemble, parameters, judgments, batch).mean(0).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        if len(heldout):
            with torch.no_grad():
                now = losses(config, question, ensemble, parameters, judgments, heldout).mean(0)
            best.update(now, epoch, ensemble, parameters)
            if epoch - max(best.epochs) >= settings.patience:
                break
    if len(heldout):
        best.restore(ensemble, parameters)
    agreement, log_loss = measure(config, question, ensemble, parameters, judgments, heldout)
    return FittedReward(ensemble, parameters, best.epochs, len(heldout), agreement, log_loss)


def log_probabilities(
    config: ControlConfig,
    question: SegmentQuestion,
    ensemble: RewardEnsemble,
    parameters: nn.ModuleList,
    judgments: SegmentJudgments,
    batch: Tensor,
) -> list[Tensor]:
    """log P [B, K] of every answer to some judgments, by each network."""
    rows = judgments.rows[batch]
    returns = ensemble.returns(*as_tensors(judgments.segments.pick(rows.flatten().numpy())))
    images, classes = torch.arange(rows.numel()).view(rows.shape), torch.zeros_like(rows)
    length = judgments.segments.obs.shape[1]
    return [
        question.likelihood.log_p(
            own, question.utilities(returns[:, member], length, config.reward)[:, None], images, classes
        )
        for member, own in enumerate(parameters)
    ]


def losses(
    config: ControlConfig,
    question: SegmentQuestion,
    ensemble: RewardEnsemble,
    parameters: nn.ModuleList,
    judgments: SegmentJudgments,
    batch: Tensor,
) -> Tensor:
    """Negative log-likelihood [B, M] of some judgments by each network."""
    log_p = log_probabilities(config, question, ensemble, parameters, judgments, batch)
    return torch.stack([question.loss(one, judgments.answer[batch]) for one in log_p], dim=1)


class Best:
    """The weights of each network after the epoch in which it predicted held-out judgments best."""

    def __init__(self, members: int) -> None:
        self.loss = torch.full((members,), float("inf"))
        self.epochs = [0] * members
        self.weights: list[Tensor] = []
        self.parameters: list[dict[str, Tensor]] = [{} for _ in range(members)]

    def update(self, loss: Tensor, epoch: int, ensemble: RewardEnsemble, parameters: nn.ModuleList) -> None:
        better = loss < self.loss
        if not self.weights:
            self.weights = [weight.detach().clone() for weight in ensemble.parameters()]
        for member in torch.nonzero(better).flatten().tolist():
            self.epochs[member] = epoch
            for kept, weight in zip(self.weights, ensemble.parameters(), strict=True):
                kept[member] = weight.detach()[member]
            self.parameters[member] = {name: v.clone() for name, v in parameters[member].state_dict().items()}
        self.loss = torch.where(better, loss, self.loss)

    @torch.no_grad()
    def restore(self, ensemble: RewardEnsemble, parameters: nn.ModuleList) -> None:
        for kept, weight in zip(self.weights, ensemble.parameters(), strict=True):
            weight.copy_(kept)
        for own, kept_parameters in zip(parameters, self.parameters, strict=True):
            own.load_state_dict(kept_parameters)


@torch.no_grad()
def measure(
    config: ControlConfig,
    question: SegmentQuestion,
    ensemble: RewardEnsemble,
    parameters: nn.ModuleList,
    judgments: SegmentJudgments,
    batch: Tensor,
) -> tuple[float | None, float | None]:
    """Agreement and log loss of the networks' mean probabilities on some judgments."""
    if not len(batch):
        return None, None
    log_p = torch.stack(log_probabilities(config, question, ensemble, parameters, judgments, batch)).logsumexp(0)
    log_p = log_p - np.log(len(parameters))
    answer = judgments.answer[batch]
    log_loss = float(question.loss(log_p, answer).mean())
    if question.segments > 1:
        decided = answer != TIE
        right = log_p[decided, :2].argmax(1) == answer[decided]
    else:
        right = log_p.argmax(1) == answer
    return (float(right.double().mean()) if len(right) else None), log_loss
