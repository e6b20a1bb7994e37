"""Maximum-likelihood training of one reward network, with early stopping on the held-out likelihood (docs/method.md 1)."""

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
from pipeline.run.runtime import Stream, generator
from pipeline.run.sharded import collect, load_whole_state, spread, whole_state
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics, Row
from stages.reward.heldout import heldout_log_loss
from stages.reward.judgment_set import JudgmentSet
from stages.reward.likelihood_parameters import LikelihoodParameters, log_likelihood
from stages.reward.teaching import Teaching

LATENT_LR = 0.2  # large: these are few parameters with much data each


@dataclass(frozen=True, eq=False)
class Member:
    """One trained reward network, its likelihood parameters, and the epoch and held-out log loss of its weights."""

    pieces: Split
    features: Features
    latent: LikelihoodParameters
    epoch: int
    log_loss: float

    def utilities(self, rows: Tensor) -> Tensor:
        """[len(rows), C] on the CPU."""
        return score(self.pieces.suffix, self.features, rows)


@dataclass(eq=False)
class Learner:
    """The training state of a reward network, as saved in a checkpoint.

    Attributes:
        pieces: the network, whose suffix is trained.
        suffix: the trained part, as prepared for one process or several.
        latent: the likelihood parameters.
        optimiser, latent_optimiser: of the suffix, and of the likelihood parameters.
        random, views: streams of the order of images, and of their views.
        step, epoch: number of completed ones.
        best: epoch and held-out log loss of the best weights.
        best_weights: state dicts of the suffix and of the likelihood parameters at that epoch.
        rows: rows of metrics.csv.
        teaching: what images that nobody judged teach.
    """

    pieces: Split
    suffix: nn.Module
    latent: LikelihoodParameters
    optimiser: torch.optim.Optimizer
    latent_optimiser: torch.optim.Optimizer
    random: torch.Generator
    views: torch.Generator
    step: int = 0
    epoch: int = 0
    best: tuple[int, float] = (0, float("inf"))
    best_weights: tuple[State, State] | None = None
    rows: list[Row] = field(default_factory=list)
    teaching: Teaching | None = None

    @classmethod
    def start(cls, ws: Workspace, pieces: Split, train: JudgmentSet, member: int, teaching: Teaching | None) -> Learner:
        """Start at the weights of `pieces`; `member` numbers the random streams."""
        config, seed = ws.config.reward, ws.config.seed
        dropout = generator(seed, Stream.REWARD_DROPOUT, member)
        torch.manual_seed(dropout.initial_seed())  # dropout draws from the global stream
        latent = LikelihoodParameters(train, config).to(ws.runtime.device)
        suffix = ws.runtime.prepare(pieces.suffix)
        return cls(
            pieces,
            suffix,
            latent,
            adamw(suffix.parameters(), config.lr),
            adamw(latent.parameters(), LATENT_LR),
            generator(seed, Stream.REWARD_ORDER, member),
            generator(seed, Stream.REWARD_VIEWS, member, 0),
            teaching=teaching.of_member(member) if teaching else None,
        )

    def trained(self) -> list[nn.Parameter]:
        """The parameters that are trained."""
        return [p for p in self.suffix.parameters() if p.requires_grad]

    def finish_epoch(self, row: Row, log_loss: float) -> None:
        """Count an epoch, and keep its weights if its held-out log loss is the lowest so far."""
        self.epoch += 1
        self.rows.append(row)
        if log_loss < self.best[1] or self.best_weights is None:
            self.best = (self.epoch, log_loss)
            self.best_weights = copy.deepcopy((self.pieces.suffix.state_dict(), self.latent.state_dict()))

    def state(self) -> State:
        """A copy of all that `restore` needs to resume with the same results; all processes must call it."""
        state: State = {"latent": self.latent.state_dict(), "optimiser": whole_state(self.optimiser)}
        state |= {"beside": self.latent_optimiser.state_dict()}  # keys of earlier versions, whose files stay readable
        state |= {"suffix": self.pieces.suffix.state_dict()}
        state |= {name: getattr(self, name).get_state() for name in ("random", "views")}
        state |= {name: getattr(self, name) for name in ("step", "epoch", "best", "rows")}
        state |= {"teaching": self.teaching.state_dict() if self.teaching else None}
        return copy.deepcopy(state) | {"kept": self.best_weights}

    def restore(self, state: State) -> None:
        """Resume from what `state` returned, with any number of processes: their streams are the same."""
        self.pieces.suffix.load_state_dict(state["suffix"])
        spread(self.suffix)
        load_whole_state(self.optimiser, state["optimiser"])
        self.latent.load_state_dict(state["latent"])
        self.latent_optimiser.load_state_dict(state["beside"])
        for name in ("random", "views"):
            getattr(self, name).set_state(state[name])
        for name in ("step", "epoch", "best", "rows"):
            setattr(self, name, state[name])
        if self.teaching and state.get("teaching"):
            self.teaching.load_state_dict(state["teaching"])
        self.best_weights = state["kept"]


def fit(
    ws: Workspace,
    pieces: Split,
    features: Features,
    *,
    train: JudgmentSet,
    heldout: JudgmentSet,
    metrics: Metrics,
    member: int = 0,
    note: str = "",
    checkpoints: Checkpoints | None = None,
    teaching: Teaching | None = None,
) -> Member:
    """Train the suffix of `pieces` for at least one epoch; it ends with the weights of the best held-out likelihood.

    Resumes from the newest checkpoint.

    Args:
        member: number in the ensemble; each has random streams of its own.
        note: added to the progress bar's label.
        teaching: what images that nobody judged teach.

    Raises:
        UserError: training diverged.
    """
    config = ws.config.reward
    learner = Learner.start(ws, pieces, train, member, teaching)
    start = [p.detach().clone() for p in learner.trained()]
    if saved := checkpoints.latest() if checkpoints else None:
        learner.restore(saved)
    metrics.resume(learner.rows)
    label = f"reward model{note}"
    bar = tqdm(total=config.epochs, initial=learner.epoch, desc=label, unit="epoch", leave=False, disable=None)
    while learner.epoch < config.epochs and learner.epoch - learner.best[0] < config.patience:
        train_loss = train_epoch(ws, learner, features, train=train, start=start)
        if not math.isfinite(train_loss):
            raise UserError(
                f"reward.lr: training diverged in epoch {learner.epoch + 1} (the loss is NaN or Inf) with {config.lr:g}; lower it"
            )
        utilities = score(pieces.suffix, features, heldout.images)
        log_loss = heldout_log_loss(utilities, heldout, learner.latent, config, mistakes=teaching is not None)
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
    assert learner.best_weights is not None
    pieces.suffix.load_state_dict(learner.best_weights[0])
    learner.latent.load_state_dict(learner.best_weights[1])
    pieces.suffix.eval()
    return Member(pieces, features, learner.latent.cpu(), *learner.best)


def train_epoch(
    ws: Workspace,
    learner: Learner,
    features: Features,
    *,
    train: JudgmentSet,
    start: list[Tensor],
) -> float:
    """Train on every judgment once; returns the mean log loss before each step, in nats per judgment.

    Args:
        start: the network's initial parameters, toward which they decay.
    """
    config, runtime, latent, teaching = ws.config.reward, ws.runtime, learner.latent, learner.teaching
    suffix = learner.suffix
    rows = teaching.rows if teaching else torch.unique(train.rows_a)
    taught = len(rows) if teaching else 0  # each of these counts as one judgment more
    total = config.epochs * -(-len(rows) // config.batch_size)
    loss_sum = 0.0
    for batch_rows, batch in train.batches_of(rows, config.batch_size, learner.random):
        factor = warmup_cosine(learner.step, total, config.warmup_fraction)
        set_lr(learner.optimiser, config.lr * factor)
        set_lr(learner.latent_optimiser, LATENT_LR * factor)
        learner.step += 1
        count = len(batch) + (len(batch_rows) if taught else 0)
        images = torch.unique(torch.cat([batch.images, batch_rows[:taught]]))
        suffix.train(len(images) > 1)  # BatchNorm cannot train on one image
        share = runtime.share(len(images))
        inputs = features.augmented(images, ws.config.images.augment, learner.views, share)
        with features.autocast(), runtime.minibatch(share):
            utilities = suffix(inputs).float()
        utilities = runtime.gather(utilities, share)
        loss = -latent.log_prior() / (len(train) + taught)
        if len(batch):
            log_p = log_likelihood(utilities, images, batch, latent, smoothing=config.label_smoothing)
            loss = loss - log_p.sum() / count
        if teaching:
            loss = loss + teaching.loss(suffix, utilities, images, batch_rows).sum() / count
        learner.optimiser.zero_grad()
        learner.latent_optimiser.zero_grad()
        loss.backward()
        learner.optimiser.step()
        learner.latent_optimiser.step()
        decay = learner.optimiser.param_groups[0]["lr"] * config.weight_decay
        _decay_toward(learner.trained(), start, decay)
        loss_sum += float(loss.detach()) * count
    collect(suffix)
    return loss_sum / (len(train) + taught)


@torch.no_grad()
def _decay_toward(parameters: list[nn.Parameter], start: list[Tensor], share: float) -> None:
    """Decoupled weight decay toward the initial weights, not zero: weights that the judgments do not determine stay."""
    for parameter, first in zip(parameters, start, strict=True):
        parameter.lerp_(first, min(1.0, share))
