"""Features: the outputs of a network's frozen prefix for every image, computed once into a memory map.

With an empty prefix (`trainable: all`) the features are the normalised images.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.config import AugmentConfig, RuntimeConfig
from pipeline.data.cached_array import stored_shape
from pipeline.data.encoding import BATCH, stored_features
from pipeline.data.pixel_cache import Pixels
from pipeline.data.resize import Transform
from pipeline.data.transforms import IMAGENET, Normalisation, augment, normalise
from pipeline.models.backbone import Split
from pipeline.models.fold_batchnorm import fold_batchnorm
from pipeline.models.policy import is_linear
from pipeline.models.precision import autocast
from pipeline.models.serialization import weights_hash
from pipeline.run.atomic_files import short_hash
from pipeline.run.processes import Share
from pipeline.run.runtime import Runtime

__all__ = ["BATCH", "Features", "load_features"]


class Features:
    """Inputs of a suffix, by row number of the image table.

    Args:
        pixels: uint8 images.
        prefix: frozen network, or None.
        stored: [N, ...] float32 prefix outputs, if they are cached.
        device: of the batches.
        normalisation: of the pixels, as the network expects it.
        bf16: the prefix, and a suffix of more than one layer, compute in bfloat16.
        linear: the suffix is a single linear layer, which computes in float32.
        runtime: of the processes among which passes over many images are divided; default: this one alone.
    """

    def __init__(
        self,
        pixels: Pixels,
        prefix: torch.nn.Module | None,
        stored: np.ndarray | None,
        device: torch.device,
        *,
        normalisation: Normalisation = IMAGENET,
        bf16: bool = False,
        linear: bool = False,
        runtime: Runtime | None = None,
    ) -> None:
        self.pixels, self.prefix, self.stored, self.device = pixels, prefix, stored, device
        self.normalisation, self.bf16, self.linear = normalisation, bf16, linear
        self.runtime = runtime or Runtime(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def on(self, device: torch.device) -> Features:
        """The same features, computed on that device; themselves if they are there already."""
        if device == self.device:
            return self
        other = copy.copy(self)
        other.device, other.prefix = device, self.prefix and copy.deepcopy(self.prefix).to(device)
        other.runtime = Runtime(device)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, whose machine may lack this device: the prefix is on the CPU."""
        return self.on(torch.device("cpu")).__dict__ | {"runtime": Runtime(torch.device("cpu"))}

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the suffix computes."""
        return autocast(self.device, self.bf16 and not self.linear)

    def batch(self, rows: Tensor) -> Tensor:
        """rows [B] to features [B, ...]; deterministic."""
        if self.stored is not None:
            features = torch.from_numpy(self.stored[rows.numpy()]).to(self.device)
            return features.contiguous(memory_format=torch.channels_last) if features.dim() == 4 else features
        return self.encode(self.pixels.batch(rows))

    def augmented(
        self, rows: Tensor, config: AugmentConfig, random: torch.Generator, share: Share | None = None
    ) -> Tensor:
        """As `batch`, with augmented images; with a prefix, its outputs come unaugmented.

        Args:
            rows: of a whole minibatch.
            share: the part of it to return; views are drawn for all of it.
        """
        own = rows[share.positions] if share else rows
        if self.prefix is not None or not (config.shift or config.flip):
            return self.batch(own)
        return self.encode(augment(self.pixels.batch(own), config, random, share))

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> Tensor:
        """Any uint8 images [B, H, W, 3] to features [B, ...]."""
        images = normalise(pixels.to(self.device), self.normalisation)
        if self.prefix is None:
            return images
        with autocast(self.device, self.bf16):
            return self.prefix(images).float()


def load_features(
    split: Split,
    pixels: Pixels,
    ids: Iterable[str],
    transform: Transform,
    *,
    cache: Path,
    limit_mb: float,
    device: torch.device,
    normalisation: Normalisation = IMAGENET,
    bf16: bool = False,
    runtime: Runtime | None = None,
    config: RuntimeConfig | None = None,
) -> Features:
    """Features of all images of a table, from the cache if possible.

    The cache key covers the prefix's weights, the images' content in order, the transform and the normalisation. Outputs
    that would take more than `limit_mb` are not stored but computed again for each batch. All processes of `runtime` must
    call it.

    Args:
        config: names the engine that computes them, and the settings of its workers; default: these processes.
    """
    runtime = runtime or Runtime(device)
    linear = is_linear(split.suffix)
    make = partial(
        Features, pixels, device=device, normalisation=normalisation, bf16=bf16, linear=linear, runtime=runtime
    )
    if split.prefix is None:
        return make(None, None)
    source = make(fold_batchnorm(split.prefix), None)
    images = hashlib.sha256("".join(ids).encode()).hexdigest()
    key = short_hash(weights_hash(split.prefix), images, transform.key, *normalisation.key, "folded", *["bf16"] * bf16)
    path = cache / "features" / f"{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = runtime.of_main(
        lambda: stored_shape(path) or (len(source), *source.batch(torch.tensor([0])).shape[1:]),
    )
    if 4 * math.prod(shape) > limit_mb * 2**20:
        return source
    return make(source.prefix, stored_features(source, path, shape, config or RuntimeConfig()))
