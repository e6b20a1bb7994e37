"""Several processes on all stages, more of them than a batch has images: the metrics are those of one."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.process_group import run_ranks, start_ranks

from pipeline.config import Config, dump_config, parse_config
from pipeline.run.atomic_files import read_json


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


def assert_same_metrics(one: Path, several: Path, *, critic: bool = True) -> None:
    """Every figure of summary.json to 1e-4, and columns of metrics.csv, of which rounding shows more, to 1e-3."""
    for stage, columns in METRICS.items():
        frames = [pd.read_csv(folder / stage / "metrics.csv") for folder in (one, several)]
        for column in columns:
            if column == "value_loss" and not critic:
                continue
            expected, found = (frame[column].dropna().to_numpy() for frame in frames)
            assert len(expected)
            assert found == pytest.approx(expected, abs=1e-3), f"{stage}: {column}"
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


def kill_second(ranks: list[subprocess.Popen[Any]], folder: Path) -> str:
    """Kill the second process with SIGKILL as soon as PPO has a checkpoint; what the first one says at its end."""
    deadline = time.monotonic() + 120
    while not list((folder / "ppo").glob("checkpoints/*.pt")):
        assert time.monotonic() < deadline
        assert ranks[0].poll() is None, ranks[0].communicate()
        time.sleep(0.01)
    ranks[1].send_signal(signal.SIGKILL)
    errors: str = ranks[0].communicate(timeout=60)[1]
    ranks[1].communicate()
    assert ranks[0].returncode == 2
    return errors


@pytest.mark.long
def test_a_killed_rank_ends_all_and_another_number_resumes(tiny: Config, tmp_path: Path) -> None:
    """SIGKILL of the second of two while PPO trains: the first says so and ends; three resume, with the metrics of one."""
    changes = ("--set", "ppo.iterations=20 ppo.lr=1e-3 runtime.checkpoint_seconds=0")
    for name in ("one", "killed"):
        config = tiny.model_copy(update={"name": name, "runs": tmp_path / name})
        (tmp_path / f"{name}.yaml").write_text(dump_config(config))
    command = ("-m", "support.tiny_network", "run", "--config", str(tmp_path / "killed.yaml"), *changes)
    errors = kill_second(start_ranks(2, command), folder := tmp_path / "killed" / "killed")
    assert "another process of this run ended" in errors
    assert not (folder / "ppo" / "manifest.json").exists()
    run_ranks(3, *command)
    run_ranks(1, "-m", "support.tiny_network", "run", "--config", str(tmp_path / "one.yaml"), *changes)
    assert_same_metrics(tmp_path / "one" / "one", folder)


@pytest.mark.long
@pytest.mark.parametrize("unlabelled", ["consistency", "propagate"])
def test_rounds_of_several_processes(tiny: Config, tmp_path: Path, unlabelled: str) -> None:
    """Rounds with images that nobody judged; of the confident ones a process may have none."""
    tree = tiny.model_dump(mode="json")
    tree["collect"] |= {"question": "label", "teacher": "simulated", "count": 8, "strategy": "expected_gain"}
    tree["reward"] |= {"objective": "supervised", "unlabelled": unlabelled, "batch_size": 12, "reliability": False}
    tree["rounds"] |= {"count": 2}
    tree["ppo"] |= {"refresh_batchnorm": True, "lr": 1e-3}  # rounding grows less than with the fixture's
    for name, count in (("one", 1), ("several", 3)):
        config = parse_config(tree | {"name": name, "runs": str(tmp_path / name)}, "test")
        (tmp_path / f"{name}.yaml").write_text(dump_config(config))
        run_ranks(count, "-m", "support.tiny_network", "rounds", "--config", str(tmp_path / f"{name}.yaml"))
    folders = [tmp_path / name / name for name in ("one", "several")]
    assert_same_metrics(*folders)
    rounds = [pd.read_csv(folder / "rounds" / "rounds.csv") for folder in folders]
    assert len(rounds[0]) == 2
    pd.testing.assert_frame_equal(rounds[1], rounds[0], rtol=0, atol=1e-4)


@pytest.mark.long
def test_commands_of_one_process_say_so(tiny: Config, tmp_path: Path) -> None:
    """Collecting from people, and `rounds --replay`."""
    (tmp_path / "c.yaml").write_text(dump_config(tiny))
    run_ranks(2, "-m", "support.tiny_network", "reference", "--config", str(tmp_path / "c.yaml"))
    for command in (("collect",), ("rounds", "--replay")):
        ranks = start_ranks(2, ("-m", "support.tiny_network", *command, "--config", str(tmp_path / "c.yaml")))
        errors = [rank.communicate(timeout=60)[1] for rank in ranks]
        assert [rank.returncode for rank in ranks] == [2, 2], errors
        assert "start it without torchrun" in errors[0]


@pytest.mark.long
def test_divided_weights_give_the_metrics_of_one(tiny: Config, tmp_path: Path) -> None:
    """FSDP (`runtime.shard`), interrupted by SIGKILL and resumed by one process more."""
    for name in ("one", "several"):
        tree = tiny.model_dump(mode="json") | {"name": name, "runs": str(tmp_path / name)}
        tree["ppo"] |= {"estimator": "expected", "refresh_batchnorm": True, "iterations": 12, "lr": 1e-3}
        tree["runtime"] |= {"shard": True, "checkpoint_seconds": 0}
        (tmp_path / f"{name}.yaml").write_text(dump_config(parse_config(tree, "test")))
    command = ("-m", "support.tiny_network", "run", "--config")
    kill_second(start_ranks(2, (*command, str(tmp_path / "several.yaml"))), tmp_path / "several" / "several")
    run_ranks(3, *command, str(tmp_path / "several.yaml"))
    run_ranks(1, *command, str(tmp_path / "one.yaml"))
    assert_same_metrics(tmp_path / "one" / "one", tmp_path / "several" / "several", critic=False)
