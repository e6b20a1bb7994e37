"""Several processes on all stages, more of them than a batch has images: the metrics are those of one."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from support.process_group import run_ranks

from pipeline.config import Config, dump_config
from pipeline.run.atomic_files import read_json
from pipeline.run.runtime import Runtime
from pipeline.run.workspace import Workspace, open_workspace

STAGES = ("reference", "collect", "reward", "ppo")


@pytest.fixture
def tiny(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]) -> Config:
    """Batches of three images, views, dropout, and every part of the loss."""
    config = stripes_config(
        image_folder(train=12, test=4),
        tmp_path / "runs",
        images={"augment": {"shift": 1, "flip": True}},
        reference={"labelled_per_class": 3, "epochs": 2, "batch_size": 3},
        collect={"count": 20},
        reward={"epochs": 2, "batch_size": 3, "reliability": True},
        ppo={
            "estimator": "critic",
            "iterations": 3,
            "batch_size": 6,
            "minibatch_size": 3,
            "augment": True,
            "epochs": 2,
            "ptx": 0.2,
            "entropy_bonus": 0.01,
            "target_kl": None,
        },
    )
    return config.model_copy(update={"name": "three"})


METRICS = {"reference": ("loss",), "reward": ("train_log_loss", "heldout_log_loss")} | {
    "ppo": ("J", "kl", "approx_kl", "grad_norm", "value_loss", "clip_fraction", "J_heldout")
}


def assert_same_metrics(one: Path, several: Path) -> None:
    """All columns of metrics.csv, and every figure of summary.json, to 1e-4."""
    for stage, columns in METRICS.items():
        frames = [pd.read_csv(folder / stage / "metrics.csv") for folder in (one, several)]
        for column in columns:
            expected, found = (frame[column].dropna().to_numpy() for frame in frames)
            assert len(expected)
            assert found == pytest.approx(expected, abs=1e-4), f"{stage}: {column}"
    expected, found = (flat(read_json(folder / "summary.json")) for folder in (one, several))
    assert found == pytest.approx(expected, abs=1e-4)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers of a tree, without those that differ between any two runs."""
    found: dict[str, float] = {}
    for name, value in tree.items():
        if name in ("seconds", "peak_rss_mb"):
            continue
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            found[prefix + name] = value
    return found


@pytest.mark.long
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_give_the_metrics_of_one(tiny: Config, tmp_path: Path, processes: int) -> None:
    """All stages; minibatches of three images leave the fourth process none."""
    for name, count in (("one", 1), ("several", processes)):
        config = tiny.model_copy(update={"name": name, "runs": tmp_path / name})
        (tmp_path / f"{name}.yaml").write_text(dump_config(config))
        run_ranks(count, "-m", "support.tiny_network", "run", "--config", str(tmp_path / f"{name}.yaml"))
    assert_same_metrics(tmp_path / "one" / "one", tmp_path / "several" / "several")


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
