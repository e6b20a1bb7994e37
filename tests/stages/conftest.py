"""A small run that a laptop makes in seconds: striped images, a whole tiny network at 16 pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, parse_config


def _stripes_config(root: Path, runs: Path, **changes: dict[str, Any]) -> Config:
    tree: dict[str, dict[str, Any]] = {
        "images": {"root": str(root), "size": 16},
        "model": {"backbone": "tiny", "weights": "none"},
        "reference": {"labelled_per_class": 2, "epochs": 6, "calibration_folds": 0, "lr": 3e-4},
        "collect": {"count": 120, "simulated": {"name": "oracle"}},
        "reward": {"epochs": 6, "batch_size": 16, "start": "backbone", "lr": 3e-3},
        "ppo": {"beta": 0.2, "iterations": 12, "batch_size": 60, "minibatch_size": 30, "lr": 3e-3},
    }
    for section, values in changes.items():
        tree.setdefault(section, {}).update(values)
    return parse_config({"runs": str(runs), **tree}, "test")


@pytest.fixture
def stripes_config() -> Callable[..., Config]:
    """A configuration for a folder that `image_folder` made; changes are given by section."""
    return _stripes_config
