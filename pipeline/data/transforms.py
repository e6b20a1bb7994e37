"""From pixels to what a network computes with: normalised, and augmented for training where that is asked for."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.config import AugmentConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W] in ImageNet's units, in the channels-last layout it came in."""
    mean = pixels.new_tensor(IMAGENET_MEAN, dtype=torch.float32)
    std = pixels.new_tensor(IMAGENET_STD, dtype=torch.float32)
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def augment(pixels: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Random translation (edges repeated) and mirroring, drawn anew for each image of uint8 [B, H, W, 3]."""
    batch, height, width, _ = pixels.shape
    rows = torch.arange(height).expand(batch, height)
    columns = torch.arange(width).expand(batch, width)
    if config.shift:
        offsets = torch.randint(-config.shift, config.shift + 1, (2, batch, 1), generator=generator)
        rows = (rows + offsets[0]).clamp(0, height - 1)
        columns = (columns + offsets[1]).clamp(0, width - 1)
    if config.flip:
        mirrored = torch.rand(batch, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return pixels[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
