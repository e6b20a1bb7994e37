"""What tests of trackers share: a configuration, and the state of every global random stream."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.config import Config, parse_config
from pipeline.run.runtime import Runtime

CPU = Runtime(torch.device("cpu"))


def config_of(folder: Path, tracker: str) -> Config:
    tree = {"name": "a", "runs": str(folder / "runs"), "images": {"source": "digits"}}
    return parse_config({**tree, "tracking": {"tracker": tracker, "project": "p"}}, "test")


def streams() -> tuple[Any, ...]:
    kind = np.random.get_state()  # noqa: NPY002
    return random.getstate(), kind[1].tolist(), kind[2], torch.get_rng_state().tolist()
