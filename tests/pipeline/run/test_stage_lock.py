"""One process for each stage folder: a second one is refused and told who is at work; a killed one blocks nobody."""

from __future__ import annotations

import importlib
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command_process import PIPE, run_command, start_command

from pipeline.config import Config, dump_config, parse_config
from pipeline.errors import UserError
from pipeline.run.stage_lock import one_process, stage_lock

# The real command line, which stops where the stage has just begun, says so, and waits to be told to go on.
HELD = """
import sys
import stages.reference.run
from stages.cli import main
whole = stages.reference.run.open_workspace
def wait(config):
    print("begun", flush=True)
    sys.stdin.readline()
    return whole(config)
stages.reference.run.open_workspace = wait
main()
"""


def config_in(folder: Path, root: Path) -> Config:
    tree = {
        "name": "one",
        "runs": str(folder / "runs"),
        "images": {"root": str(root), "size": 16},
        "model": {"backbone": "shufflenet_v2_x0_5", "weights": "none"},
        "reference": {"labelled_per_class": 2, "epochs": 1, "calibration_folds": 0},
    }
    return parse_config(tree, "test")


def test_two_processes(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(dump_config(config_in(tmp_path, image_folder())))
    options = ["reference", "--config", str(tmp_path / "c.yaml")]
    command = ["-m", "stages.cli", *options]
    first = start_command(["-c", HELD, *options], stdin=PIPE, stdout=PIPE)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "begun\n"
        second = run_command(command)
        folder = tmp_path / "runs" / "one" / "reference"
        assert second.returncode == 2
        assert second.stderr.startswith(
            f"error: {folder}: being written by another process (pid {first.pid} on {socket.gethostname()}, since 20"
        )
        assert len(second.stderr.splitlines()) == 1
        assert not folder.exists(), "nothing was written"
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    third = run_command(command)
    assert third.returncode == 0, third.stderr
    assert (folder / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("folder", "module", "rest"),
    [
        ("reference", "stages.reference.run", ()),
        ("collect", "stages.collect.run", ()),
        ("reward", "stages.reward.run", ()),
        ("ppo", "stages.ppo.run", ()),
        ("export", "stages.export.run", ()),
        ("report", "stages.report.run", ()),
        ("compare", "stages.compare.run", (1, None, [])),
    ],
)
def test_every_stage(
    image_folder: Callable[..., Path], tmp_path: Path, folder: str, module: str, rest: tuple[object, ...]
) -> None:
    config = config_in(tmp_path, image_folder())
    (config.runs / "one").mkdir(parents=True)
    stage = importlib.import_module(module)
    with stage_lock(config.runs / "one" / folder), pytest.raises(UserError, match=f"pid {os.getpid()} on"):
        stage.run(config, *rest)
    assert not (config.runs / "one" / folder).exists()


def test_several_pages_may_collect_from_people(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """They share leases and a store that has a lock of its own; the first thing such a page needs is the reference."""
    config = config_in(tmp_path, image_folder())
    tree = config.model_dump(mode="json")
    tree["collect"]["teacher"] = "people"
    (config.runs / "one").mkdir(parents=True)
    from stages.collect.run import run

    with stage_lock(config.runs / "one" / "collect"), pytest.raises(UserError, match=r"model\.safetensors: missing"):
        run(parse_config(tree, "test"))


def test_the_holder_is_forgotten_in_the_end(tmp_path: Path) -> None:
    for _ in range(2):
        with stage_lock(tmp_path / "ppo"):
            assert (tmp_path / ".ppo.lock.json").is_file()
        assert not (tmp_path / ".ppo.lock.json").exists()


@pytest.mark.parametrize("note", [b"", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_damaged_note_does_not_matter(tmp_path: Path, note: bytes) -> None:
    with stage_lock(tmp_path / "ppo"):
        (tmp_path / ".ppo.lock.json").write_bytes(note)
        with pytest.raises(UserError, match="unknown"), stage_lock(tmp_path / "ppo"):
            pass


def test_processes_of_one_stage_share_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchrun starts several; the first holds the lock."""
    with stage_lock(tmp_path / "ppo"):
        monkeypatch.setenv("RANK", "1")
        with stage_lock(tmp_path / "ppo"):
            pass


def test_a_folder_that_cannot_be_made_is_named(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    """/proc takes no folders from anybody, whatever may be written elsewhere."""
    config = config_in(tmp_path, image_folder()).model_copy(update={"runs": Path("/proc/x")})
    run = one_process("ppo")(lambda _: True)
    with pytest.raises(UserError, match="runs: the folder /proc/x/one cannot be created"):
        run(config)
