"""Features in which images are compared with each other: for clusters, neighbours and densities."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from pipeline.data.feature_cache import BATCH, Features

PIXEL_SIDE = 16  # without a frozen prefix, images are compared at this side


def representation(features: Features) -> np.ndarray:
    """Vectors [N, D] of all images, float32: outputs of the frozen prefix, pooled and of length 1; or else small pixels.

    All processes must call it; each computes a share.
    """

    def vectors(own: torch.Tensor) -> torch.Tensor:
        parts = own.split(BATCH)
        if features.prefix is None:
            return torch.cat([torch.from_numpy(_pixels(features.pixels.batch(part).numpy())) for part in parts])
        return torch.cat([_pooled(features.batch(part).cpu()) for part in parts])

    every = features.runtime.divided(len(features), vectors)
    return (every if features.prefix is None else torch.nn.functional.normalize(every, dim=1)).numpy()


def _pooled(outputs: torch.Tensor) -> torch.Tensor:
    """Outputs [B, D] or [B, D, H, W] as [B, D]."""
    return outputs.flatten(2).mean(2) if outputs.dim() > 2 else outputs


def _pixels(images: np.ndarray) -> np.ndarray:
    """uint8 [B, H, W, 3] to float32 [B, D] between 0 and 1, of at most PIXEL_SIDE pixels a side."""
    side = min(PIXEL_SIDE, images.shape[1])
    small = [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX)) for image in images]
    return np.stack(small).reshape(len(images), -1).astype(np.float32) / 255
