"""Training of encoder and head together (`model.trainable: all`), with early stopping on held-out judgments.

One readable loop per member of the ensemble; the loss is the negative log-likelihood of all comparisons of a batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from pipeline.errors import UserError
from pipeline.learning.optimisers import adamw, set_lr, warmup_cosine
from pipeline.learning.reward_card import Evaluated, MemberParameters
from pipeline.models.sources.extras import zero_head
from pipeline.run.checkpoints import Checkpoints, State
from pipeline.run.extension import StageFunctions
from pipeline.run.runtime import Stream, generator
from pipeline.text.config import TextConfig
from pipeline.text.encoder import TextEncoder
from pipeline.tracking.metrics_log import Metrics, Row

HEAD_LR = 1e-3  # the head starts at zero, and has far fewer weights than the encoder
LATENT_LR = 0.2  # of the likelihood's parameters: few, with much data each


@dataclass(frozen=True, eq=False)
class FineTuned:
    """The ensemble: each member's head, encoder weights, and the evaluation of all."""

    heads: list[tuple[Tensor, Tensor]]
    encoders: list[State]
    evaluated: Evaluated


@dataclass(eq=False)
class Learner:
    """The training state of one member, as saved in a checkpoint."""

    encoder: TextEncoder
    head: nn.Linear
    latent: Any
    optimisers: list[torch.optim.Optimizer]
    random: torch.Generator
    step: int = 0
    epoch: int = 0
    best: tuple[int, float] = (0, math.inf)
    best_weights: tuple[State, State, State] | None = None
    rows: list[Row] = field(default_factory=list)

    def state(self) -> State:
        """A copy of all that `restore` needs."""
        state: State = {name: getattr(self, name) for name in ("step", "epoch", "best", "rows", "best_weights")}
        state |= {name: module.state_dict() for name, module in self.modules().items()}
        state |= {"optimisers": [one.state_dict() for one in self.optimisers], "random": self.random.get_state()}
        return copy.deepcopy(state)

    def restore(self, state: State) -> None:
        """Resume from what `state` returned."""
        for name, module in self.modules().items():
            module.load_state_dict(state[name])
        for one, saved in zip(self.optimisers, state["optimisers"], strict=True):
            one.load_state_dict(saved)
        self.random.set_state(state["random"])
        for name in ("step", "epoch", "best", "rows", "best_weights"):
            setattr(self, name, state[name])

    def modules(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder.model, "head": self.head, "latent": self.latent}

    def finish_epoch(self, row: Row, log_loss: float) -> None:
        """Count an epoch, and keep its weights if its held-out log loss is the lowest so far."""
        self.epoch += 1
        self.rows.append(row)
        if log_loss < self.best[1] or self.best_weights is None:
            self.best = (self.epoch, log_loss)
            self.best_weights = copy.deepcopy(tuple(one.state_dict() for one in self.modules().values()))  # type: ignore[assignment]


def fine_tune(
    config: TextConfig,
    functions: StageFunctions,
    encoder: TextEncoder,
    texts: Sequence[str],
    judgments: Any,
    metrics: Metrics,
    checkpoints: Checkpoints,
) -> FineTuned:
    """Train the ensemble; with several members, each on a bootstrap sample of the texts.

    Raises:
        UserError: too few judgments, or training diverged.
    """
    seed, count = config.seed, config.reward.members
    train, heldout = functions.split(judgments, config.reward.heldout_fraction, generator(seed, Stream.HELDOUT_SPLIT))
    first = copy.deepcopy(encoder.model.state_dict())
    heads, encoders, members, tables = [], [], [], []
    for number in range(count):
        encoder.model.load_state_dict(first)
        own = train if count == 1 else functions.bootstrap(train, generator(seed, Stream.BOOTSTRAP, number))
        with checkpoints.of(f"member-{number}") as saved:
            learner = _fit(config, functions, encoder, texts, (own, heldout), number, metrics, saved)
        assert learner.best_weights is not None
        for module, weights in zip(learner.modules().values(), learner.best_weights, strict=True):
            module.load_state_dict(weights)
        head = learner.head.cpu()
        weight, bias = head.weight.detach(), head.bias.detach()
        tables.append(encoder.embeddings(texts) @ weight.T + bias)
        heads.append((weight, bias))
        encoders.append({name: value.cpu().clone() for name, value in encoder.model.state_dict().items()})
        members.append(MemberParameters(learner.latent.cpu(), learner.best[0]))
    tie = sum(member.latent.nu for member in members) / count
    rewards = torch.stack(tables).mean(0)
    curve = [functions.curve_point(members, tables, len(train), heldout)]
    return FineTuned(heads, encoders, Evaluated(members, rewards, heldout, tables, curve, tie=tie))


def _fit(
    config: TextConfig,
    functions: StageFunctions,
    encoder: TextEncoder,
    texts: Sequence[str],
    parts: tuple[Any, Any],
    member: int,
    metrics: Metrics,
    checkpoints: Checkpoints,
) -> Learner:
    """Train one member until its held-out likelihood no longer improves; resumes from the newest checkpoint."""
    settings, (train, heldout) = config.reward, parts
    device = next(encoder.parameters()).device
    head = zero_head(encoder.width, 1).to(device)
    latent = functions.likelihood_parameters(train, settings).to(device)
    torch.manual_seed(generator(config.seed, Stream.REWARD_DROPOUT, member).initial_seed())
    optimisers: list[torch.optim.Optimizer] = [
        adamw(encoder.model.parameters(), settings.lr),
        adamw(head.parameters(), HEAD_LR),
        adamw(latent.parameters(), LATENT_LR),
    ]
    for group in (*optimisers[0].param_groups, *optimisers[1].param_groups):
        group["weight_decay"] = settings.weight_decay
    random = generator(config.seed, Stream.REWARD_ORDER, member)
    learner = Learner(encoder, head, latent, optimisers, random)
    if saved := checkpoints.latest():
        learner.restore(saved)
    metrics.resume(learner.rows)
    bar = tqdm(
        total=settings.epochs,
        initial=learner.epoch,
        desc=f"reward model {member + 1}/{settings.members}",
        leave=False,
        disable=None,
    )
    while learner.epoch < settings.epochs and learner.epoch - learner.best[0] < settings.patience:
        loss = _train_epoch(config, functions, learner, texts, train)
        if not math.isfinite(loss):
            raise UserError(
                f"reward.lr: training diverged in epoch {learner.epoch + 1} (the loss is NaN or Inf) with {settings.lr:g}; lower it"
            )
        rows = heldout.images
        with torch.no_grad():
            utilities = head(encoder.embeddings([texts[row] for row in rows.tolist()]).to(device))
            log_loss = float(-functions.log_likelihood(utilities, rows, heldout, latent).mean())
        row: Row = {"member": member, "epoch": learner.epoch + 1, "train_log_loss": loss, "heldout_log_loss": log_loss}
        metrics.add(**row)
        learner.finish_epoch(row, log_loss)
        checkpoints.offer(learner.epoch, learner.state)
        bar.update()
    bar.close()
    return learner


def _train_epoch(
    config: TextConfig, functions: StageFunctions, learner: Learner, texts: Sequence[str], train: Any
) -> float:
    """Train on every judgment once; returns the mean log loss before each step, in nats per judgment."""
    settings, encoder = config.reward, learner.encoder
    device = next(encoder.parameters()).device
    steps = settings.epochs * -(-len(torch.unique(train.rows_a)) // settings.batch_size)
    encoder.train()
    total = 0.0
    for batch in train.batches(settings.batch_size, learner.random):
        factor = warmup_cosine(learner.step, steps, settings.warmup_fraction)
        for optimiser, lr in zip(learner.optimisers, (settings.lr, HEAD_LR, LATENT_LR), strict=True):
            set_lr(optimiser, lr * factor)
            optimiser.zero_grad()
        learner.step += 1
        rows = batch.images
        tokens = {
            name: value.to(device) for name, value in encoder.tokens([texts[row] for row in rows.tolist()]).items()
        }
        utilities = learner.head(encoder(tokens).float())
        log_p = functions.log_likelihood(utilities, rows, batch, learner.latent)
        loss = -log_p.sum() / len(batch) - learner.latent.log_prior() / len(train)
        loss.backward()
        for optimiser in learner.optimisers:
            optimiser.step()
        total += float(loss.detach()) * len(batch)
    encoder.eval()
    return total / len(train)
