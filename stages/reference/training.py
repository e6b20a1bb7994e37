"""Supervised training of the reference on a few labelled images."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from pipeline.config import TrainingConfig
from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.learning.optimisers import adamw, set_lr, warmup_cosine
from pipeline.models.backbone import Split, build_network
from pipeline.run.runtime import Stream, generator, minibatches
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics


def fresh_network(ws: Workspace) -> tuple[Split, Features]:
    return ws.cut(build_network(ws.config.model, len(ws.classes), ws.config.seed))


def fit_labels(
    ws: Workspace,
    pieces: Split,
    features: Features,
    rows: Tensor,
    labels: Tensor,
    config: TrainingConfig,
    metrics: Metrics,
) -> None:
    """Cross-entropy on images `rows` [n] with classes `labels` [n]; changes the suffix in place, leaves it in eval mode.

    Raises:
        UserError: training diverged.
    """
    of_row = torch.zeros(len(features), dtype=torch.long)
    of_row[rows] = labels
    random = generator(ws.config.seed, Stream.REFERENCE_ORDER)
    augment_random = generator(ws.config.seed, Stream.REFERENCE_VIEWS, ws.runtime.rank)
    suffix, optimiser = (
        ws.runtime.prepare(pieces.suffix),
        adamw(pieces.suffix.parameters(), config.lr, config.weight_decay),
    )
    torch.manual_seed(
        generator(ws.config.seed, Stream.REFERENCE_DROPOUT).initial_seed()
    )  # dropout, in networks that have it
    total, step = config.epochs * -(-len(rows) // config.batch_size), 0
    suffix.train()
    for epoch in tqdm(range(config.epochs), "reference", unit="epoch", leave=False, disable=None):
        loss_sum = 0.0
        for batch in minibatches(rows, config.batch_size, random):
            set_lr(optimiser, config.lr * warmup_cosine(step, total, config.warmup_fraction))
            part = ws.runtime.share(batch)
            logits = suffix(features.augmented(part, ws.config.images.augment, augment_random))
            loss = (
                cross_entropy(logits, of_row[part].to(logits.device), reduction="sum") * ws.runtime.world / len(batch)
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += float(loss.detach()) * len(batch) / ws.runtime.world
            step += 1
        if not math.isfinite(loss_sum):
            raise UserError(
                f"reference.lr: training diverged in epoch {epoch + 1} (the loss is NaN or Inf) with {config.lr:g}; lower it"
            )
        metrics.add(epoch=epoch + 1, loss=loss_sum / len(rows), lr=optimiser.param_groups[0]["lr"])
    pieces.suffix.eval()
