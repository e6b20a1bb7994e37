"""Finished runs to export, made once for all tests of a module: one with gold labels, one without any."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Config, parse_config
from stages.cli import STAGES

CLASSES = ("light|<b>", "dark")  # a name that would be markup in Markdown


def picture(label: int, random: np.random.Generator) -> Image.Image:
    """Light or dark, with noise, a little wider than high, so that resizing and cropping matter."""
    grey = (170, 80)[label] + random.normal(0, 25, (36, 44, 3))
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


def write_pictures(root: Path, **splits: int) -> Path:
    random = np.random.default_rng(0)
    for split, count in splits.items():
        for label, name in enumerate(CLASSES):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                picture(label, random).save(root / split / name / f"{number}.png")
    return root


def finish(folder: Path, tree: dict[str, Any]) -> Config:
    """Run all stages."""
    small: dict[str, Any] = {
        "runs": str(folder / "runs"),
        "model": {"backbone": "tiny", "weights": "none", "trainable": "head"},
        "reward": {"epochs": 3, "curve": [], "lr": 0.1},
        "ppo": {"iterations": 3, "batch_size": 40, "minibatch_size": 20, "lr": 0.1},
    }
    config = parse_config(small | tree, "test")
    for _, module, _ in STAGES:
        importlib.import_module(module).run(config)
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A run with gold labels, whose 20 test images are 32 pixels wide after a resize to 34."""
    folder = tmp_path_factory.mktemp("gold")
    images = {"root": str(write_pictures(folder / "images", train=20, test=10)), "size": 32, "resize": 34}
    reference = {"labelled_per_class": 3, "epochs": 5, "calibration_folds": 0, "lr": 0.1}
    collect = {"count": 60, "simulated": {"name": "mistake"}, "teacher": "simulated"}
    return finish(folder, {"name": "gold", "images": images, "reference": reference, "collect": collect})


@pytest.fixture(scope="module")
def without_gold(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A flat folder, named classes, no label; answers of two people replayed from a table."""
    folder = tmp_path_factory.mktemp("flat")
    (folder / "images").mkdir()
    random = np.random.default_rng(1)
    with (folder / "answers.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "label", "annotator"])
        for number in range(40):
            picture(number % 2, random).save(folder / "images" / f"{number}.png")
            for person in ("Jane Doe", "John Roe"):
                table.writerow([f"{number}.png", CLASSES[number % 2], person])
    return finish(
        folder,
        {
            "name": "flat",
            "images": {"root": str(folder / "images"), "classes": list(CLASSES), "size": 32},
            "reference": {"labelled_per_class": 0},
            "collect": {
                "teacher": "replay",
                "question": "label",
                "count": 100,
                "replay": {"csv": str(folder / "answers.csv"), "annotator_column": "annotator"},
            },
            "reward": {"epochs": 3, "curve": [], "lr": 0.1, "objective": "supervised"},
        },
    )
