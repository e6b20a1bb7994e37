"""Maximum likelihood of judgments under one utility, stopped where the held-out likelihood is best."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.features import Features
from pipeline.models.backbone import Split
from pipeline.optim import adamw, set_lr, warmup_cosine
from pipeline.runtime import generator
from pipeline.scores import score
from pipeline.tracking import Metrics
from pipeline.workspace import Workspace
from stages.reward.judgment_set import JudgmentSet
from stages.reward.latent import Latent, Shape, log_likelihood, mean_nll

LATENT_LR = 0.2  # a few numbers that every judgment speaks of; the network's rate would never move them


@dataclass(frozen=True, eq=False)
class Member:
    """One trained reward network, what was learned beside it, and the epoch and held-out log loss it ended with."""

    pieces: Split
    features: Features
    latent: Latent
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


def fit(
    ws: Workspace, pieces: Split, features: Features, train: JudgmentSet, heldout: JudgmentSet, metrics: Metrics,
    member: int = 0, note: str = "",
) -> Member:  # fmt: skip
    """Train the suffix of `pieces`; it ends with the weights of the epoch, one at least, of the best held-out likelihood.

    Args:
        member: number in the ensemble; each has random streams of its own.
        note: what the progress bar says beside «reward model».
    """
    config, runtime = ws.config.reward, ws.runtime
    random, views = generator(ws.config.seed, 21, member), generator(ws.config.seed, 22, member, runtime.rank)
    latent = Latent(Shape.of(train, config.reliability, config.rating == "scalar")).to(runtime.device)
    suffix = runtime.prepare(pieces.suffix)
    network = [p for p in pieces.suffix.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in network]
    optimiser, beside = adamw(network, config.lr), adamw(latent.parameters(), LATENT_LR)
    total = config.epochs * sum(1 for _ in train.batches(config.batch_size, generator(0)))
    step, best, best_state = 0, (0, float("inf")), None
    for epoch in tqdm(range(1, config.epochs + 1), f"reward model{note}", unit="epoch", leave=False, disable=None):
        loss_sum = 0.0
        for batch in train.batches(config.batch_size, random):
            factor = warmup_cosine(step, total, config.warmup_fraction)
            set_lr(optimiser, config.lr * factor)
            set_lr(beside, LATENT_LR * factor)
            step += 1
            part = batch.share(runtime.rank, runtime.world)
            images = part.images
            suffix.train(len(images) > 1)  # BatchNorm cannot train on one image
            utilities = suffix(features.augmented(images, ws.config.images.augment, views))
            log_p = log_likelihood(utilities, images, part, latent, config.label_smoothing)
            loss = -log_p.sum() * runtime.world / len(batch) - latent.log_prior() / len(train)
            optimiser.zero_grad()
            beside.zero_grad()
            loss.backward()
            for parameter in latent.parameters():  # DistributedDataParallel knows the network only
                if parameter.grad is not None and runtime.world > 1:
                    parameter.grad = runtime.total(parameter.grad) / runtime.world
            optimiser.step()
            beside.step()
            _decay_toward(network, start, optimiser.param_groups[0]["lr"] * config.weight_decay)
            loss_sum += float(loss.detach()) * len(batch) / runtime.world
        log_loss = mean_nll(score(pieces.suffix, features, heldout.images), heldout, latent)
        metrics.add(
            member=member, epoch=epoch, train_log_loss=loss_sum / len(train), heldout_log_loss=log_loss,
            lr=optimiser.param_groups[0]["lr"],
        )  # fmt: skip
        if log_loss < best[1] or best_state is None:
            best = (epoch, log_loss)
            best_state = copy.deepcopy((pieces.suffix.state_dict(), latent.state_dict()))
        elif epoch - best[0] >= config.patience:
            break
    assert best_state is not None
    pieces.suffix.load_state_dict(best_state[0])
    latent.load_state_dict(best_state[1])
    pieces.suffix.eval()
    return Member(pieces, features, latent.cpu(), *best)


@torch.no_grad()
def _decay_toward(parameters: list[nn.Parameter], start: list[Tensor], share: float) -> None:
    """Decoupled weight decay whose rest is the start, not zero: what the judgments say nothing about stays."""
    for parameter, first in zip(parameters, start, strict=True):
        parameter.lerp_(first, min(1.0, share))
