"""Small control tasks for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import parse_settings
from pipeline.control.config import ControlConfig
from pipeline.control.extra import PACKAGES
from pipeline.run.optional_packages import missing

needs_control = pytest.mark.skipif(bool(missing(PACKAGES)), reason="needs gymnasium and stable-baselines3")

SMALL: dict[str, Any] = {
    "name": "small",
    "environment": {"id": "CartPole-v1", "n_envs": 2},
    "agent": {"kind": "ppo", "steps": 384, "settings": {"n_steps": 32, "batch_size": 32, "n_epochs": 2}},
    "pretraining": {"steps": 128, "states": 50},
    "collect": {"count": 12, "segment_length": 8, "candidates": 3},
    "reward": {"members": 2, "hidden": [8], "epochs": 5},
    "rounds": {"count": 2},
    "evaluation": {"episodes": 2},
}


def small_tree(runs: Path, **changes: dict[str, Any]) -> dict[str, Any]:
    """The tree of a configuration, with some keys of its sections changed."""
    tree = {name: dict(section) if isinstance(section, dict) else section for name, section in SMALL.items()}
    for name, section in changes.items():
        tree[name] = {**tree.get(name, {}), **section} if isinstance(section, dict) else section
    return tree | {"runs": str(runs)}


def small_task(runs: Path, **changes: Any) -> ControlConfig:
    """CartPole for about two seconds."""
    return parse_settings(ControlConfig, small_tree(runs, **changes), "test")
