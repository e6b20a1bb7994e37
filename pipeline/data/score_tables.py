"""Tables [N, C]: a network's outputs for every image, computed once for each set of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.data.cached_array import cached_array
from pipeline.data.feature_cache import BATCH, Features
from pipeline.data.resize import Transform
from pipeline.models.policy import final_linear
from pipeline.models.serialization import weights_hash
from pipeline.run.atomic_files import short_hash


@torch.no_grad()
def score(suffix: nn.Module, features: Features, rows: Tensor | None = None) -> Tensor:
    """Outputs [len(rows), C], float32 on the CPU, of a network in eval mode; of every image if no rows are given."""
    was_training = suffix.training
    suffix.eval()
    chunk = BATCH if features.stored is None or features.stored.ndim > 2 else 65_536
    rows = torch.arange(len(features)) if rows is None else rows
    with features.autocast():
        outputs = [suffix(features.batch(part)).float().cpu() for part in rows.split(chunk)]
    suffix.train(was_training)
    return torch.cat(outputs)


def cached_scores(
    network: nn.Module,
    suffix: nn.Module,
    features: Features,
    *,
    ids: Iterable[str],
    transform: Transform,
    cache: Path,
) -> Tensor:
    """`score` of every image, [N, C], cached on disk under the hash of the weights, the images and the transform."""
    images = hashlib.sha256("".join(ids).encode()).hexdigest()
    key = short_hash(
        weights_hash(network), images, transform.key, *features.normalisation.key, *["bf16"] * features.bf16
    )

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, score(suffix, features).numpy())

    shape = (len(features), final_linear(network).out_features)
    return torch.from_numpy(cached_array(cache / "scores" / f"{key}.npy", shape, write, mapped=False))
