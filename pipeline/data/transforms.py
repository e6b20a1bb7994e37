"""From pixels to a network's input: normalisation, and augmentation for training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.config import AugmentConfig
from pipeline.run.processes import Share


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, of pixels between 0 and 1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def key(self) -> tuple[str, ...]:
        """Part of cache keys; empty for ImageNet's values, so that caches of earlier versions stay valid."""
        return () if self == IMAGENET else (repr((self.mean, self.std)),)


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalise(pixels: Tensor, normalisation: Normalisation = IMAGENET) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W], (pixels / 255 - mean) / std, in channels-last memory layout."""
    mean = pixels.new_tensor(normalisation.mean, dtype=torch.float32)
    std = pixels.new_tensor(normalisation.std, dtype=torch.float32)
    values = pixels.to(torch.float32, copy=True)  # changed in place: new memory for each step takes twice as long
    return values.div_(255).sub_(mean).div_(std).permute(0, 3, 1, 2)


def augment(pixels: Tensor, config: AugmentConfig, generator: torch.Generator, share: Share | None = None) -> Tensor:
    """Random translation (edges repeated) and mirroring, drawn for each image of uint8 [B, H, W, 3].

    Args:
        share: of a minibatch that these images are; random numbers are drawn for all of it.
    """
    batch, height, width, _ = pixels.shape
    drawn = share.size if share else batch
    own = share.positions if share else slice(None)
    rows = torch.arange(height).expand(batch, height)
    columns = torch.arange(width).expand(batch, width)
    if config.shift:
        offsets = torch.randint(-config.shift, config.shift + 1, (2, drawn, 1), generator=generator)[:, own]
        rows = (rows + offsets[0]).clamp(0, height - 1)
        columns = (columns + offsets[1]).clamp(0, width - 1)
    if config.flip:
        mirrored = torch.rand(drawn, 1, generator=generator)[own] < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    return pixels[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
