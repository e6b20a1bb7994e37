"""The command line about judgments, in a folder with a trained reference, for tests."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import yaml
from click.testing import CliRunner

from stages.cli import main

SMALL = {
    "name": "small",
    "images": {"source": "digits", "size": 16},
    "model": {"backbone": "tiny", "weights": "none", "trainable": "head"},
    "reference": {"labelled_per_class": 1, "epochs": 2, "batch_size": 20, "calibration_folds": 0},
    "collect": {"count": 40, "server": {"port": 0, "open_browser": False}},
    "reward": {"epochs": 2, "batch_size": 32},
}


def make_workplace(folder: Path) -> Path:
    """Train a reference; there are no judgments yet."""
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    made = command(folder, "reference")
    assert made.returncode == 0, made.stderr
    return folder


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def command(folder: Path, *arguments: str, settings: str = "") -> Done:
    """The command line in this process, as starting python anew takes seconds; errors beyond UserError are raised."""
    options = ["--config", "small.yaml", *(["--set", settings] if settings else [])]
    words = (
        [*arguments[:2], *options, *arguments[2:]]
        if arguments[0] == "feedback"
        else [arguments[0], *options, *arguments[1:]]
    )
    with contextlib.chdir(folder):
        result = CliRunner().invoke(main, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def named(folder: Path, name: str) -> str:
    """Another run with the same reference."""
    target = folder / "runs" / name
    target.mkdir(exist_ok=True)
    if not (target / "reference").exists():
        (target / "reference").symlink_to(folder / "runs" / "small" / "reference")
    return f"name={name}"
