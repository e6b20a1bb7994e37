"""Several processes on one stage: more of them than a batch has images."""

from __future__ import annotations

import importlib
import math
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.command_process import start_command

from pipeline.config import Config, dump_config
from pipeline.run.runtime import Runtime
from pipeline.run.workspace import Workspace, open_workspace

STAGES = ("reference", "collect", "reward", "ppo")


def run_ranks(processes: int, *arguments: str) -> None:
    """Run the command line in several processes with what torchrun sets in their environment; all must end well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [
        start_command(
            ["-m", "stages.cli", *arguments],
            env=os.environ | world | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for rank in range(processes)
    ]
    errors = [rank.communicate(timeout=280)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * processes, errors


@pytest.fixture
def tiny(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]) -> Config:
    """Two labelled images, batches of two images, and every part of the loss."""
    config = stripes_config(
        image_folder(train=6, test=2),
        tmp_path / "runs",
        model={"backbone": "shufflenet_v2_x0_5", "trainable": "last_block"},  # its last block sees one pixel
        reference={"labelled_per_class": 1, "epochs": 2, "batch_size": 2},
        collect={"count": 20},
        reward={"epochs": 2, "batch_size": 2, "reliability": True},
        ppo={
            "estimator": "critic",
            "iterations": 3,
            "batch_size": 2,
            "minibatch_size": 2,
            "epochs": 2,
            "ptx": 0.2,
            "entropy_bonus": 0.01,
            "target_kl": None,
        },
    )
    return config.model_copy(update={"name": "three"})


@pytest.mark.long
def test_more_processes_than_images_in_a_batch(tiny: Config, tmp_path: Path) -> None:
    """All stages, also BatchNorm in train mode on one image or none; PPO's metrics are those of one process."""
    (tmp_path / "c.yaml").write_text(dump_config(tiny))
    run_ranks(3, "run", "--config", str(tmp_path / "c.yaml"))
    for stage, column in {"reference": "loss", "reward": "train_log_loss"}.items():
        values = pd.read_csv(tiny.runs / "three" / stage / "metrics.csv")[column].dropna()
        assert len(values)
        assert all(math.isfinite(value) for value in values)
    for folder in (*STAGES[:3], "feedback"):
        shutil.copytree(tiny.runs / "three" / folder, tiny.runs / "one" / folder)
    importlib.import_module("stages.ppo.run").run(tiny.model_copy(update={"name": "one"}), force=True)
    frames = [pd.read_csv(tiny.runs / name / "ppo" / "metrics.csv") for name in ("one", "three")]
    for column in ("J", "kl", "approx_kl", "grad_norm", "value_loss", "clip_fraction", "J_heldout"):
        one, three = (frame[column].dropna().to_numpy() for frame in frames)
        assert len(one)
        assert three == pytest.approx(one, rel=0.02, abs=1e-4), column


class Second(Runtime):
    """The second of several processes, with nobody to wait for."""

    is_main = False  # type: ignore[assignment]


@pytest.mark.parametrize("stage", ["reference", "ppo"])
def test_processes_that_write_nothing_score_too(tiny: Config, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """Otherwise the first would score the whole table alone, and the others' barrier might time out."""
    for name in STAGES[: STAGES.index(stage)]:
        importlib.import_module(f"stages.{name}.run").run(tiny)
    module = importlib.import_module(f"stages.{stage}.run")
    monkeypatch.setattr(module, "open_workspace", opened_by_second_process)
    tables = tiny.runs / ".cache" / "scores"
    before = set(tables.glob("*.npy"))
    module.run(tiny, force=True)
    assert not (tiny.runs / "three" / stage / "model.safetensors").exists()
    assert set(tables.glob("*.npy")) - before, "the new policy's scores"


def opened_by_second_process(config: Config) -> Workspace:
    return replace(open_workspace(config), runtime=Second(torch.device("cpu")))


def test_a_share_is_never_empty() -> None:
    rows = torch.tensor([7, 3])
    shares = [Runtime(torch.device("cpu"), rank, 3).share(rows) for rank in range(3)]
    assert [share.rows.tolist() for share in shares] == [[7], [3], [7]]
    assert [share.weight for share in shares] == [3, 3, 0]
    assert Runtime(torch.device("cpu")).share(rows).rows.tolist() == [7, 3]
    assert Runtime(torch.device("cpu")).share(rows).weight == 1
