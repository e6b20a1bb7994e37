"""From an RGB image to what a network sees: deterministic in use, with optional augmentation for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipeline.config import AugmentConfig, ImagesConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Transform:
    """Shorter side to `resize` pixels (bilinear, antialiased), then the centre square of `size` pixels."""

    size: int
    resize: int

    @classmethod
    def of(cls, config: ImagesConfig) -> Transform:
        return cls(config.size, config.resize or config.size)

    @property
    def key(self) -> str:
        return f"{self.size}-{self.resize}"

    def __call__(self, image: Image.Image) -> np.ndarray:
        """[H, W] RGB image to a uint8 array [size, size, 3]."""
        scale = self.resize / min(image.size)
        width, height = (max(self.size, round(side * scale)) for side in image.size)
        if (width, height) != image.size:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        return np.asarray(image.crop((left, top, left + self.size, top + self.size)))


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
