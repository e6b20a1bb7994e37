"""Runs whose networks were never trained: enough to predict with, and made in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.untrained import make_untrained
from pipeline.config import Config, parse_config

CLASSES = ("ant", "bee", "wasp")


def untrained_run(folder: Path, classes: tuple[str, ...] = CLASSES, **infer: object) -> Config:
    """A run with a policy and a reference of random weights, at 32 pixels."""
    tree = {"name": "bugs", "runs": str(folder / "runs"), "images": {"root": str(folder), "size": 32}, "infer": infer}
    config = parse_config({**tree, "model": {"backbone": "squeezenet1_1", "weights": "none"}}, "test")
    make_untrained(config, classes)
    return config


def noise_images(folder: Path, count: int, seed: int = 0) -> Path:
    """`count` small PNG files of noise, each another."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 256, (12 + number % 5, 14, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return folder
