"""Runs whose networks were never trained: enough to predict with, and made in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pipeline.config import Config, parse_config
from pipeline.files import write_json
from pipeline.models.backbone import build_network
from pipeline.models.files import ModelHeader, save_model
from pipeline.models.policy import final_linear
from pipeline.run_folder import RunFolder
from pipeline.runtime import generator

CLASSES = ("ant", "bee", "wasp")


def untrained_run(folder: Path, classes: tuple[str, ...] = CLASSES, **infer: object) -> Config:
    """A run with a policy and a reference of random weights, at 16 pixels."""
    tree = {"name": "bugs", "runs": str(folder / "runs"), "images": {"root": str(folder), "size": 16}, "infer": infer}
    config = parse_config({**tree, "model": {"weights": "none"}}, "test")
    run = RunFolder(config)
    for seed, stage in enumerate(("ppo", "reference")):
        network = build_network(config.model, len(classes), seed)
        torch.nn.init.normal_(final_linear(network).weight, std=0.3, generator=generator(seed))  # new ones are zero
        save_model(run.path / stage / "model.safetensors", network, ModelHeader("policy", "resnet18", classes, 16, 16))
        write_json(run.path / stage / "manifest.json", {"settings": run.stage(stage).settings})
    return config


def noise_images(folder: Path, count: int, seed: int = 0) -> Path:
    """`count` small PNG files of noise, each another."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 256, (12 + number % 5, 14, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
    return folder
