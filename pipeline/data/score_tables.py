"""Tables [N, C]: a network's outputs for every image, computed once for each set of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.data.divided_array import cached_together
from pipeline.data.feature_cache import BATCH, Features
from pipeline.data.resize import Transform
from pipeline.models.policy import final_linear
from pipeline.models.serialization import weights_hash
from pipeline.run.atomic_files import short_hash


@torch.no_grad()
def score(suffix: nn.Module, features: Features, rows: Tensor | None = None) -> Tensor:
    """Outputs [len(rows), C], float32 on the CPU, of a network in eval mode; of every image if no rows are given.

    All processes must call it; each computes a share.
    """
    was_training = suffix.training
    suffix.eval()
    chunk = BATCH if features.stored is None or features.stored.ndim > 2 else 65_536
    every = torch.arange(len(features)) if rows is None else rows

    def outputs(own: Tensor) -> Tensor:
        return torch.cat([suffix(features.batch(part)).float().cpu() for part in every[own].split(chunk)])

    with features.autocast():
        table = features.runtime.divided(len(every), outputs)
    suffix.train(was_training)
    return table


def cached_scores(
    network: nn.Module,
    suffix: nn.Module,
    features: Features,
    *,
    ids: Iterable[str],
    transform: Transform,
    cache: Path,
) -> Tensor:
    """`score` of every image, [N, C], cached on disk under the hash of the weights, the images and the transform.

    All processes must call it.
    """
    images = hashlib.sha256("".join(ids).encode()).hexdigest()
    key = short_hash(
        weights_hash(network), images, transform.key, *features.normalisation.key, *["bf16"] * features.bf16
    )
    shape, path = (len(features), final_linear(network).out_features), cache / "scores" / f"{key}.npy"
    table = cached_together(
        path, shape, lambda: iter([score(suffix, features).numpy()]), features.runtime, mapped=False
    )
    return torch.from_numpy(table)
