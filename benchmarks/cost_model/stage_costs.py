"""Seconds and bytes of every stage of one job: a linear head on frozen features, from JPEG files to predictions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config import Config, parse_config

CLASSES = 10
SIDE = 96  # pixels
JUDGED = 0.1  # share of the images
STAGES = ("open", "encode", "collect", "train-reward", "ppo", "infer")


def make_images(folder: Path, count: int) -> None:
    """Different JPEG files of SIDE pixels, with coarse and fine structure, in folders train/<class>/."""
    random = np.random.default_rng(0)
    fine = random.normal(0, 12, (16, SIDE, SIDE, 3))
    for number in range(count):
        place = folder / "train" / f"class{number % CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        pixels = (np.asarray(coarse) + fine[number % len(fine)]).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(place / f"{number:07d}.jpg", quality=90)


def job(folder: Path, count: int) -> Config:
    """The configuration of the job on so many images."""
    tree = {
        "name": "job",
        "runs": str(folder / "runs"),
        "images": {"root": str(folder / "images"), "size": SIDE},
        "model": {"backbone": "squeezenet1_1", "weights": "none", "trainable": "head"},
        "reference": {"labelled_per_class": 0},
        "collect": {"question": "label", "teacher": "simulated", "count": round(JUDGED * count)},
        "reward": {"objective": "supervised", "start": "backbone", "prior_sd": 3, "curve": []},
        "ppo": {"iterations": 2, "evaluate_every": 2},
        "runtime": {"precision": "fp32"},  # auto measures, and may decide differently for each job
    }
    return parse_config(tree, "benchmark")


def measure(count: int) -> dict[str, dict[str, float]]:
    """Seconds and stored bytes of each stage for `count` images, in a new process and an empty folder."""
    with tempfile.TemporaryDirectory() as place:
        make_images(Path(place) / "images", count)
        said = subprocess.run(
            [sys.executable, "-m", "benchmarks.cost_model.stage_costs", place, str(count)],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        return dict(json.loads(said.splitlines()[-1]))


def run_stages(folder: Path, count: int) -> dict[str, dict[str, float]]:
    """Run all stages in this process."""
    from pipeline.run.workspace import open_workspace
    from stages.collect.run import run as collect
    from stages.infer.run import run as infer
    from stages.ppo.run import run as ppo
    from stages.reference.run import run as reference
    from stages.reward.run import run as train_reward

    config = job(folder, count)
    found: dict[str, dict[str, float]] = {}

    def timed(stage: str, action: Callable[[], object]) -> None:
        before, begin = bytes_of(folder / "runs"), time.perf_counter()
        action()
        seconds = time.perf_counter() - begin
        found[stage] = {"seconds": seconds, "bytes": bytes_of(folder / "runs") - before}

    timed("open", lambda: open_workspace(config))
    workspace = open_workspace(config)
    timed("encode", lambda: workspace.cut(workspace.build()))
    reference(config)  # uniform: nothing is trained
    timed("collect", lambda: collect(config))
    timed("train-reward", lambda: train_reward(config))
    timed("ppo", lambda: ppo(config, chance_allowed=True))
    timed("infer", lambda: infer(config, str(folder / "images")))
    return found


def bytes_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum((Path(place) / name).stat().st_size for place, _, names in os.walk(folder) for name in names)


if __name__ == "__main__":
    print(json.dumps(run_stages(Path(sys.argv[1]), int(sys.argv[2]))))
