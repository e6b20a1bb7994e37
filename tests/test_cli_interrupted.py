"""Stages that are interrupted, killed, or run by several processes, through the real command line."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.command_process import DEVNULL, run_command, start_command
from support.pipeline_runs import COMMAND, VARIABLES, fingerprint, invoke

from feedback_store.csv_store.seal import ENTRY


def test_an_interrupted_collection_goes_on(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a part of the judgments is there, the last row torn: the rest is asked again, nothing twice."""
    run = workplace / "runs" / "interrupted"
    shutil.copytree(workplace / "runs/small/reference", run / "reference")
    whole = ("collect", "--config", "small.yaml", "--teacher", "simulated", "--set", "name=interrupted")
    assert invoke(monkeypatch, workplace, *whole)[0] == 0
    path = run / "feedback" / "pairwise.csv"
    complete = pd.read_csv(path).drop(columns="created_at")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 + 7])
    seal = path.with_name("pairwise.csv.seal")  # an entry is written once its row is on disk: there are none beyond
    entries = np.frombuffer(seal.read_bytes(), ENTRY)
    seal.write_bytes(entries[entries["end"] <= path.stat().st_size].tobytes())
    shutil.rmtree(run / "collect")
    assert invoke(monkeypatch, workplace, *whole)[0] == 0
    again = pd.read_csv(path).drop(columns="created_at")
    assert again.equals(complete)
    assert len(list(path.parent.glob("*.torn-*"))) == 1


@pytest.mark.long
def test_two_processes_give_the_same_ppo(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started by torchrun, the update is the same up to the order of sums: metrics agree to float precision."""
    pytest.importorskip("torch.distributed")
    folder = workplace / "runs" / "two"
    shutil.copytree(workplace / "runs/small", folder)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    options = [*COMMAND, "ppo", "--config", "small.yaml", "--set", "name=two", "--force"]
    environment = os.environ | VARIABLES | {"OMP_NUM_THREADS": "1"}
    finished = run_command([*torchrun, *options], cwd=workplace, env=environment, timeout=300)
    assert finished.returncode == 0, finished.stderr[-2000:]
    one = pd.read_csv(workplace / "runs/small/ppo/metrics.csv")
    two = pd.read_csv(folder / "ppo/metrics.csv")
    assert two["J"].to_numpy() == pytest.approx(one["J"].to_numpy(), abs=2e-3)
    moved = [frame["approx_kl"].to_numpy()[:-1] for frame in (one, two)]  # after the last update nothing moves
    assert moved[1] == pytest.approx(moved[0], rel=0.05, abs=1e-5)


def test_a_killed_stage_is_simply_run_again(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL in the middle leaves no manifest, so that the stage counts as not done."""
    run = workplace / "runs" / "killed"
    shutil.copytree(workplace / "runs/small", run)
    (run / "reward" / "manifest.json").unlink()
    code, output = invoke(monkeypatch, workplace, "ppo", "--config", "small.yaml", "--set", "name=killed")
    assert code == 2
    assert "make train-reward" in output
    shutil.copy(workplace / "runs/small/reward/manifest.json", run / "reward" / "manifest.json")
    process = start_command(
        [*COMMAND, "ppo", "--config", "small.yaml", "--set", "name=killed ppo.iterations=500"],
        cwd=workplace,
        env=os.environ | VARIABLES,
        stderr=DEVNULL,
    )
    metrics = run / "ppo" / "metrics.csv"
    deadline = time.monotonic() + 120
    while (
        (run / "ppo" / "manifest.json").exists()
        or not metrics.is_file()
        or not 2 < len(metrics.read_text().splitlines()) < 100
    ):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run / "ppo" / "manifest.json").exists()
    code, _ = invoke(monkeypatch, workplace, "ppo", "--config", "small.yaml", "--set", "name=killed")
    assert code == 0
    assert fingerprint(run)["ppo"] == fingerprint(workplace / "runs/small")["ppo"]
