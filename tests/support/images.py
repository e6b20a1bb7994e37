"""Small images that a network of two epochs can tell apart."""

from __future__ import annotations

import numpy as np
from PIL import Image


def stripes(label: int, random: np.random.Generator, size: int = 16) -> Image.Image:
    """Class 0: horizontal stripes; 1: vertical; 2: a chequerboard. Random phase, contrast and noise: no two are alike."""
    phase = random.integers(0, 4)
    rows, columns = np.mgrid[:size, :size]
    pattern = [(rows + phase) // 2 % 2, (columns + phase) // 2 % 2, (rows // 2 + columns // 2 + phase) % 2][label]
    grey = 128 + (pattern - 0.5) * random.uniform(80, 200) + random.normal(0, 15, (size, size))
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
