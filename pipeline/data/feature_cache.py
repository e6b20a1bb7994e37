"""Features: the outputs of a network's frozen prefix for every image, computed once into a memory map.

With an empty prefix (`trainable: all`) the features are the normalised images.
"""

from __future__ import annotations

import copy
import hashlib
import io
import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pipeline.config import AugmentConfig, RuntimeConfig
from pipeline.data.block_file import BlockFile
from pipeline.data.cached_array import cached_array, stored_shape
from pipeline.data.pixel_cache import Pixels
from pipeline.data.resize import Transform
from pipeline.data.transforms import IMAGENET, Normalisation, augment, normalise
from pipeline.engines import ENGINES, Site
from pipeline.models.backbone import Split
from pipeline.models.fold_batchnorm import fold_batchnorm
from pipeline.models.policy import is_linear
from pipeline.models.precision import autocast
from pipeline.models.serialization import weights_hash
from pipeline.run.atomic_files import short_hash, writing

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
    ) -> None:
        self.pixels, self.prefix, self.stored, self.device = pixels, prefix, stored, device
        self.normalisation, self.bf16, self.linear = normalisation, bf16, linear

    def __len__(self) -> int:
        return len(self.pixels)

    def on(self, device: torch.device) -> Features:
        """The same features, computed on that device; themselves if they are there already."""
        if device == self.device:
            return self
        other = copy.copy(self)
        other.device, other.prefix = device, self.prefix and copy.deepcopy(self.prefix).to(device)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, whose machine may lack this device: the prefix is on the CPU."""
        return self.on(torch.device("cpu")).__dict__

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the suffix computes."""
        return autocast(self.device, self.bf16 and not self.linear)

    def batch(self, rows: Tensor) -> Tensor:
        """rows [B] to features [B, ...]; deterministic."""
        if self.stored is not None:
            features = torch.from_numpy(self.stored[rows.numpy()]).to(self.device)
            return features.contiguous(memory_format=torch.channels_last) if features.dim() == 4 else features
        return self.encode(self.pixels.batch(rows))

    def augmented(self, rows: Tensor, config: AugmentConfig, random: torch.Generator) -> Tensor:
        """As `batch`, with augmented images; with a prefix, its outputs come unaugmented."""
        if self.prefix is not None or not (config.shift or config.flip):
            return self.batch(rows)
        return self.encode(augment(self.pixels.batch(rows), config, random))

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
    config: RuntimeConfig | None = None,
) -> Features:
    """Features of all images of a table, from the cache if possible.

    The cache key covers the prefix's weights, the images' content in order, the transform and the normalisation. Outputs
    that would take more than `limit_mb` are not stored but computed again for each batch.

    Args:
        config: names the engine that computes them, and the settings of its workers; default: this process.
    """
    linear = is_linear(split.suffix)
    make = partial(Features, pixels, device=device, normalisation=normalisation, bf16=bf16, linear=linear)
    if split.prefix is None:
        return make(None, None)
    source = make(fold_batchnorm(split.prefix), None)
    images = hashlib.sha256("".join(ids).encode()).hexdigest()
    key = short_hash(weights_hash(split.prefix), images, transform.key, *normalisation.key, "folded", *["bf16"] * bf16)
    path = cache / "features" / f"{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = stored_shape(path) or (len(source), *source.batch(torch.tensor([0])).shape[1:])
    if 4 * math.prod(shape) > limit_mb * 2**20:
        return source
    stored = cached_array(path, shape, partial(_compute, source, shape, config or RuntimeConfig()), mapped=True)
    return make(source.prefix, stored)


@dataclass(frozen=True)
class BuildEncoder:
    """Builds an encoder where it is called; the prefix travels with it, the pixels are read from the cache there."""

    source: Features

    def __call__(self, site: Site) -> Encoder:
        return Encoder(self.source.on(site.device))


class Encoder:
    """Maps batches of rows to the bytes of their prefix outputs, float32."""

    def __init__(self, source: Features) -> None:
        self.source = source

    def __call__(self, batches: Iterator[Tensor]) -> Iterator[bytes]:
        for rows in batches:
            yield self.source.batch(rows).cpu().numpy().astype("<f4", copy=False).tobytes()

    def close(self) -> None:
        pass


def _compute(source: Features, shape: tuple[int, ...], config: RuntimeConfig, path: Path) -> None:
    """Write the outputs for every image to a .npy file of that shape; resumes after the last complete batch.

    Written sequentially, since a memory map on a full disk would end the process with SIGBUS.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    batches = torch.arange(len(source)).split(BATCH)
    with writing(path), BlockFile(path, header.getvalue()) as file:
        left = batches[file.done :]
        outputs = ENGINES.get(config.engine).map_batches(
            BuildEncoder(source), iter(left), count=len(left), runtime=config, device=source.device, block=1
        )
        with closing(outputs):
            progress = tqdm(
                outputs, "features", len(batches), initial=file.done, unit="batch", leave=False, disable=None
            )
            for output in progress:
                file.add(output)
        file.finish()
