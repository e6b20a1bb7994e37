"""Supervised training of the reference on a few labelled images."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from pipeline.data.feature_cache import Features
from pipeline.errors import UserError
from pipeline.learning.optimisers import adamw, set_lr, warmup_cosine
from pipeline.models.backbone import Split
from pipeline.models.known_classes import KnownClasses
from pipeline.models.policy import final_linear
from pipeline.models.sources import find_backbone
from pipeline.run.runtime import Stream, generator, minibatches
from pipeline.run.sharded import collect
from pipeline.run.workspace import Workspace
from pipeline.tracking.metrics_log import Metrics


def initial_network(ws: Workspace) -> tuple[Split, Features]:
    """A network of random or pretrained weights, cut into prefix and suffix, with its features.

    Its head is zero, or for a zero-shot reference what the weights know of the classes.
    """
    network = ws.build()
    if ws.config.reference.resolved == "zero_shot":
        use_zero_shot_head(ws, network)
    return ws.cut(network, train=True)


@torch.no_grad()
def use_zero_shot_head(ws: Workspace, network: nn.Module) -> None:
    """Set the head to the weights' own classes, or to the texts of the class names.

    Raises:
        UserError: the text model cannot be read, or names are given for a class that does not exist.
    """
    if isinstance(network, KnownClasses):
        network.use_own_head()
        return
    config = ws.config
    names = config.reference.names
    if unknown := [name for name in names if name not in ws.classes]:
        raise UserError(
            f"reference.names: '{unknown[0]}' is not one of the classes {', '.join(ws.classes)}; fix the name"
        )
    words = [[str(word) for word in names.get(of, [of.replace("_", " ")])] for of in ws.classes]
    templates = config.reference.templates
    prompts = tuple(tuple(template.replace("{}", word) for word in of for template in templates) for of in words)
    head = final_linear(network)
    head.weight.copy_(text_head(config.model.backbone, config.model.weights, prompts))
    head.bias.zero_()


@functools.lru_cache(maxsize=1)
def text_head(backbone: str, weights: str, prompts: tuple[tuple[str, ...], ...]) -> Tensor:
    """Weight [C, D] of a head that scores each class by its prompts; the text model is read once for all folds."""
    source, name = find_backbone(backbone)
    weight = source.text_head(name, weights, prompts)
    assert weight is not None, "a source that reads text has a head for it"
    return weight


def fit_labels(
    ws: Workspace,
    pieces: Split,
    features: Features,
    *,
    rows: Tensor,
    labels: Tensor,
    metrics: Metrics,
) -> None:
    """Cross-entropy on images `rows` [n] with classes `labels` [n]; trains the suffix in place, leaves it in eval mode.

    Raises:
        UserError: training diverged.
    """
    config = ws.config.reference
    label_of_row = torch.zeros(len(features), dtype=torch.long)
    label_of_row[rows] = labels
    random = generator(ws.config.seed, Stream.REFERENCE_ORDER)
    augment_random = generator(ws.config.seed, Stream.REFERENCE_VIEWS, 0)
    runtime, suffix = ws.runtime, ws.runtime.prepare(pieces.suffix)
    optimiser = adamw(suffix.parameters(), config.lr, config.weight_decay)
    dropout = generator(ws.config.seed, Stream.REFERENCE_DROPOUT)
    torch.manual_seed(dropout.initial_seed())  # dropout draws from the global stream
    total, step = config.epochs * -(-len(rows) // config.batch_size), 0
    for epoch in tqdm(range(config.epochs), "reference", unit="epoch", leave=False, disable=None):
        loss_sum = 0.0
        for batch in minibatches(rows, config.batch_size, random):
            set_lr(optimiser, config.lr * warmup_cosine(step, total, config.warmup_fraction))
            share = runtime.share(len(batch))
            suffix.train()
            inputs = features.augmented(batch, ws.config.images.augment, augment_random, share)
            with features.autocast(), runtime.minibatch(share):
                logits = suffix(inputs).float()
            logits = runtime.gather(logits, share)
            loss = cross_entropy(logits, label_of_row[batch].to(logits.device), reduction="sum") / len(batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss_sum += float(loss.detach()) * len(batch)
            step += 1
        if not math.isfinite(loss_sum):
            raise UserError(
                f"reference.lr: training diverged in epoch {epoch + 1} (the loss is NaN or Inf) with {config.lr:g}; lower it"
            )
        metrics.add(epoch=epoch + 1, loss=loss_sum / len(rows), lr=optimiser.param_groups[0]["lr"])
    collect(suffix)
    pieces.suffix.eval()
