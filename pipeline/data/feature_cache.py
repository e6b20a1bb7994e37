"""Features: the outputs of a network's frozen prefix for every image, computed once into a memory map.

With an empty prefix (`trainable: all`) the features are the normalised images.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.config import AugmentConfig
from pipeline.data.cached_array import stored_shape
from pipeline.data.divided_array import cached_together
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

BATCH = 128


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
    ids: np.ndarray,
    transform: Transform,
    *,
    cache: Path,
    limit_mb: float,
    device: torch.device,
    normalisation: Normalisation = IMAGENET,
    bf16: bool = False,
    runtime: Runtime | None = None,
) -> Features:
    """Features of all images of a table, from the cache if possible.

    The cache key covers the prefix's weights, the images' content in order, the transform and the normalisation. Outputs
    that would take more than `limit_mb` are not stored but computed again for each batch. All processes of `runtime` must
    call it; each computes a share of the images.
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
    stored = cached_together(path, shape, lambda: _blocks(source), runtime, mapped=True)
    return make(source.prefix, stored)


def _blocks(source: Features) -> Iterator[np.ndarray]:
    count = -(-len(source) // (BATCH * source.runtime.world))
    for block in tqdm(divided_rows(source), "features", count, unit="batch", leave=False, disable=None):
        yield block.cpu().numpy()


def divided_rows(features: Features) -> Iterator[Tensor]:
    """The features of all images in order, in parts of BATCH images per process; each process computes its share of a part.

    All processes must call it.
    """
    runtime = features.runtime
    for rows in torch.arange(len(features)).split(BATCH * runtime.world):
        share = runtime.share(len(rows))
        yield runtime.gather(features.batch(rows[share.positions]), share)
