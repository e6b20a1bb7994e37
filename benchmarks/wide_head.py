"""A linear head on 768 features and 1,000 classes: seconds and memory of the reward model and of PPO on 10,000 images.

    python -m benchmarks.wide_head

Images are a class's pattern with noise; a frozen random layer makes the features. The simulated annotator chooses one label
per image, one in ten wrong.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.machine import machine
from pipeline.config import Config, parse_config
from pipeline.models.sources import BACKBONE_SOURCES, BackboneSource
from pipeline.run.atomic_files import read_json
from stages.collect.run import run as collect
from stages.ppo.run import run as ppo
from stages.reference.run import run as reference
from stages.reward.run import run as train_reward

CLASSES, FEATURES, TRAIN, TEST, SIZE = 1000, 768, 10, 2, 8


class RandomFeatures(BackboneSource):
    """A frozen random layer of 768 features."""

    def names(self) -> Sequence[str]:
        return ["random"]

    def build(self, name: str, classes: int, weights: str, seed: int) -> nn.Module:
        head = nn.Linear(FEATURES, classes)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, FEATURES), nn.ReLU(), head)


def write_images(root: Path) -> None:
    """TRAIN and TEST images of each class."""
    random = np.random.default_rng(0)
    for number in range(CLASSES):
        pattern = random.integers(0, 256, (SIZE, SIZE, 3))
        for split, count in (("train", TRAIN), ("test", TEST)):
            folder = root / split / f"c{number:04}"
            folder.mkdir(parents=True)
            for image in range(count):
                noisy = pattern + random.normal(0, 60, pattern.shape)
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{image}.png")


def configuration(folder: Path) -> Config:
    """The head alone is trained, from a uniform reference."""
    return parse_config(
        {
            "runs": str(folder / "runs"),
            "images": {"root": str(folder / "images"), "size": SIZE},
            "model": {"backbone": "wide:random", "weights": "none", "trainable": "head"},
            "reference": {"labelled_per_class": 0},
            "collect": {"question": "label", "count": CLASSES * TRAIN, "teacher": "simulated"},
            "reward": {"objective": "supervised", "start": "backbone", "epochs": 20, "curve": []},
            "ppo": {"iterations": 10, "batch_size": 2000, "minibatch_size": 500, "epochs": 2},
        },
        "wide head",
    )


@click.command()
def main() -> None:
    """Run the stages, and print the seconds of the last two and the peak memory."""
    BACKBONE_SOURCES.register("wide", RandomFeatures())
    click.echo(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        writer = multiprocessing.get_context("spawn").Process(target=write_images, args=(folder / "images",))
        writer.start()  # in a process of its own, whose memory is not counted
        writer.join()
        config = configuration(folder)
        reference(config)
        collect(config)
        begin = time.perf_counter()
        train_reward(config)
        middle = time.perf_counter()
        ppo(config)
        end = time.perf_counter()
        policy = read_json(config.runs / config.name / "summary.json")["policy"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(
        f"{FEATURES} features, {CLASSES} classes, {CLASSES * TRAIN} images: reward model {middle - begin:.1f} s, PPO "
        f"{end - middle:.1f} s, peak memory {peak:.0f} MiB; accuracy {policy['accuracy']:.1%}, attained {policy['attained']:.3f}"
    )


if __name__ == "__main__":
    main()
