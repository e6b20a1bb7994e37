"""A folder with a finished run of every stage on the digits, and the command line in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from stages.cli import main
from support.command_process import run_command

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ("-m", "support.tiny_network")  # after `python`
VARIABLES = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
SMALL = {
    "name": "small",
    "images": {"source": "digits", "size": 16},
    "model": {"backbone": "tiny", "weights": "none", "trainable": "all"},
    "reference": {"labelled_per_class": 2, "epochs": 4, "batch_size": 20, "calibration_folds": 2},
    "collect": {"count": 60, "simulated": {"name": "mistake"}},
    "reward": {"epochs": 2, "batch_size": 32},
    "ppo": {"iterations": 3, "batch_size": 128, "epochs": 2, "evaluate_every": 2},
}


def make_finished_run(folder: Path) -> None:
    """small.yaml, one finished run of it in runs/, made by the command line, and what that printed in first.txt."""
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    finished = command(folder, "run", "--config", "small.yaml")
    assert finished.returncode == 0, finished.stderr
    (folder / "first.txt").write_text(finished.stdout)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`image-rlhf`, which knows the tiny network too, in a process of its own."""
    return run_command([*COMMAND, *arguments], cwd=folder, env=os.environ | VARIABLES)


def invoke(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> tuple[int, str]:
    """The same in this process: exit code, and what was printed to either stream."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(main, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def fingerprint(run: Path) -> dict[str, bytes]:
    return {stage: (run / stage / "model.safetensors").read_bytes() for stage in ("reference", "reward", "ppo")}
