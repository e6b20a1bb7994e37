"""Maximum likelihood of judgments under one utility, stopped where the held-out likelihood is best."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.data.feature_cache import Features
from pipeline.data.score_tables import score
from pipeline.errors import UserError
from pipeline.learning.optimisers import adamw, set_lr, warmup_cosine
from pipeline.models.backbone import Split
from pipeline.run.checkpoints import Checkpoints, State
from pipeline.run.runtime import generator
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics, Row
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood, mean_nll

LATENT_LR = 0.2  # a few numbers that every judgment speaks of; the network's rate would never move them


@dataclass(frozen=True, eq=False)
class Member:
    """One trained reward network, what was learned beside it, and the epoch and held-out log loss it ended with."""

    pieces: Split
    features: Features
    latent: LikelihoodParameters
    epoch: int
    log_loss: float

    def utilities(self, rows: Tensor) -> Tensor:
        """[len(rows), C] on the CPU."""
        return score(self.pieces.suffix, self.features, rows)


def resampled(judgments: JudgmentSet, random: torch.Generator) -> JudgmentSet:
    """As many images as there are, drawn with replacement, each with all its judgments (bootstrap by image)."""
    distinct, place = torch.unique(judgments.rows_a, return_inverse=True)
    drawn = torch.randint(len(distinct), (len(distinct),), generator=random)
    times = drawn.bincount(minlength=len(distinct))
    return judgments.pick(torch.repeat_interleave(torch.arange(len(judgments)), times[place]))


@dataclass(eq=False)
class Learner:
    """Everything that changes while a reward network is trained, in one place: what a checkpoint holds.

    Attributes:
        pieces: its suffix learns; latent: what is learned beside it.
        optimiser, beside: of the two.
        random, views: streams of the order of images, and of their views.
        step, epoch: how many were made.
        best: epoch and held-out log loss of the best weights, which are `kept`.
        rows: of metrics.
    """

    pieces: Split
    latent: LikelihoodParameters
    optimiser: torch.optim.Optimizer
    beside: torch.optim.Optimizer
    random: torch.Generator
    views: torch.Generator
    step: int = 0
    epoch: int = 0
    best: tuple[int, float] = (0, float("inf"))
    kept: tuple[State, State] | None = None
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def start(cls, ws: Workspace, pieces: Split, train: JudgmentSet, member: int) -> Learner:
        """At the weights of `pieces`; `member` numbers the random streams."""
        config, seed = ws.config.reward, ws.config.seed
        torch.manual_seed(generator(seed, 25, member).initial_seed())  # dropout, in networks that have it
        latent = LikelihoodParameters(train, config).to(ws.runtime.device)
        return cls(
            pieces,
            latent,
            adamw(pieces.suffix.parameters(), config.lr),
            adamw(latent.parameters(), LATENT_LR),
            generator(seed, 21, member),
            generator(seed, 22, member, ws.runtime.rank),
        )

    def finish_epoch(self, row: Row, log_loss: float) -> None:
        """Count an epoch, and keep its weights if no held-out log loss was lower."""
        self.epoch += 1
        self.rows.append(row)
        if log_loss < self.best[1] or self.kept is None:
            self.best = (self.epoch, log_loss)
            self.kept = copy.deepcopy((self.pieces.suffix.state_dict(), self.latent.state_dict()))

    def state(self) -> State:
        """A copy of all that `restore` needs to go on as if nothing had happened."""
        state = {name: getattr(self, name).state_dict() for name in ("latent", "optimiser", "beside")}
        state |= {"suffix": self.pieces.suffix.state_dict()}
        state |= {name: getattr(self, name).get_state() for name in ("random", "views")}
        state |= {name: getattr(self, name) for name in ("step", "epoch", "best", "rows")}
        return copy.deepcopy(state) | {"kept": self.kept}

    def restore(self, state: State, *, views: bool) -> None:
        """Go on from what `state` returned; the views' stream is that of the process that wrote it."""
        self.pieces.suffix.load_state_dict(state["suffix"])
        for name in ("latent", "optimiser", "beside"):
            getattr(self, name).load_state_dict(state[name])
        for name in ("random", "views") if views else ("random",):
            getattr(self, name).set_state(state[name])
        for name in ("step", "epoch", "best", "rows", "kept"):
            setattr(self, name, state[name])


def fit(
    ws: Workspace,
    pieces: Split,
    features: Features,
    train: JudgmentSet,
    heldout: JudgmentSet,
    metrics: Metrics,
    member: int = 0,
    note: str = "",
    checkpoints: Checkpoints | None = None,
) -> Member:
    """Train the suffix of `pieces`; it ends with the weights of the epoch, one at least, of the best held-out likelihood.

    Goes on from the newest checkpoint if there is one.

    Args:
        member: number in the ensemble; each has random streams of its own.
        note: what the progress bar says beside "reward model".

    Raises:
        UserError: training diverged.
    """
    config = ws.config.reward
    suffix = ws.runtime.prepare(pieces.suffix)
    start = [p.detach().clone() for p in _trained(pieces.suffix)]
    learner = Learner.start(ws, pieces, train, member)
    if saved := checkpoints.latest() if checkpoints else None:
        learner.restore(saved, views=ws.runtime.is_main)
    metrics.resume(learner.rows)
    bar = tqdm(
        total=config.epochs, initial=learner.epoch, desc=f"reward model{note}", unit="epoch", leave=False, disable=None
    )
    while learner.epoch < config.epochs and learner.epoch - learner.best[0] < config.patience:
        train_loss = train_epoch(ws, learner, suffix, features, train, start)
        if not math.isfinite(train_loss):
            raise UserError(
                f"reward.lr: training diverged in epoch {learner.epoch + 1} (the loss is NaN or Inf) with {config.lr:g}; lower it"
            )
        log_loss = mean_nll(score(pieces.suffix, features, heldout.images), heldout, learner.latent)
        log_loss = ws.runtime.agree(log_loss)  # BatchNorm's buffers differ between processes, and so would the end
        row: Row = {
            "member": member,
            "epoch": learner.epoch + 1,
            "train_log_loss": train_loss,
            "heldout_log_loss": log_loss,
            "lr": learner.optimiser.param_groups[0]["lr"],
        }
        metrics.add(**row)
        learner.finish_epoch(row, log_loss)
        if checkpoints:
            checkpoints.offer(learner.epoch, learner.state)
        bar.update()
    bar.close()
    assert learner.kept is not None
    pieces.suffix.load_state_dict(learner.kept[0])
    learner.latent.load_state_dict(learner.kept[1])
    pieces.suffix.eval()
    return Member(pieces, features, learner.latent.cpu(), *learner.best)


def train_epoch(
    ws: Workspace, learner: Learner, suffix: nn.Module, features: Features, train: JudgmentSet, start: list[Tensor]
) -> float:
    """Every judgment once; returns their mean log loss, each under the weights it met.

    Args:
        suffix: what learns, as prepared for one process or several.
        start: its parameters before training, toward which they decay.
    """
    config, runtime, latent = ws.config.reward, ws.runtime, learner.latent
    total = config.epochs * sum(1 for _ in train.batches(config.batch_size, generator(0)))
    loss_sum = 0.0
    for batch in train.batches(config.batch_size, learner.random):
        factor = warmup_cosine(learner.step, total, config.warmup_fraction)
        set_lr(learner.optimiser, config.lr * factor)
        set_lr(learner.beside, LATENT_LR * factor)
        learner.step += 1
        part = batch.share(runtime.rank, runtime.world)
        images = part.images
        suffix.train(len(images) > 1)  # BatchNorm cannot train on one image
        utilities = suffix(features.augmented(images, ws.config.images.augment, learner.views))
        log_p = log_likelihood(utilities, images, part, latent, config.label_smoothing)
        loss = -log_p.sum() * runtime.world / len(batch) - latent.log_prior() / len(train)
        learner.optimiser.zero_grad()
        learner.beside.zero_grad()
        loss.backward()
        runtime.average_gradients(latent)
        learner.optimiser.step()
        learner.beside.step()
        decay = learner.optimiser.param_groups[0]["lr"] * config.weight_decay
        _decay_toward(_trained(learner.pieces.suffix), start, decay)
        loss_sum += float(loss.detach()) * len(batch) / runtime.world
    return loss_sum / len(train)


def _trained(suffix: nn.Module) -> list[nn.Parameter]:
    return [p for p in suffix.parameters() if p.requires_grad]


@torch.no_grad()
def _decay_toward(parameters: list[nn.Parameter], start: list[Tensor], share: float) -> None:
    """Decoupled weight decay whose rest is the start, not zero: what the judgments say nothing about stays."""
    for parameter, first in zip(parameters, start, strict=True):
        parameter.lerp_(first, min(1.0, share))
