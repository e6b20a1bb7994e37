"""A run that was interrupted ends with the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from support.command_process import PIPE, start_command

from pipeline.config import Config, dump_config
from pipeline.errors import Stopped
from pipeline.models.reward_model import RewardModel
from pipeline.models.serialization import load_model, weights_hash
from pipeline.run.atomic_files import read_json
from stages.cli import STAGES

TESTS = Path(__file__).resolve().parents[1]
KILLS = int(os.environ.get("IMAGE_RLHF_KILLS", "3"))
Make = Callable[..., Config]
CRITIC = {"estimator": "critic", "augment": True, "refresh_batchnorm": True, "keep": "best_heldout"}


@pytest.fixture
def small(image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Make) -> Callable[..., Config]:
    """Everything that has a state: dropout, BatchNorm, views, an ensemble, a critic, an adaptive beta, a kept iterate."""
    root = image_folder(classes=3, train=20, test=8)

    def make(name: str, **ppo: Any) -> Config:
        return stripes_config(
            root,
            tmp_path / name,
            images={"augment": {"shift": 2}},
            model={"backbone": "tiny"},
            runtime={"checkpoint_seconds": 0},
            reward={"members": 2, "epochs": 4, "curve": [0.5]},
            ppo={"iterations": 8, "batch_size": 25, "target_kl": None, **CRITIC, **ppo},
        )

    return make


def run(config: Config, *names: str) -> None:
    for name, module, _ in STAGES:
        if name in names:
            importlib.import_module(module).run(config)


def weights(config: Config) -> list[str]:
    """Hashes of every weight and buffer of reference, reward model and policy."""
    folder = config.runs / config.name
    policies = [load_model(folder / stage / "model.safetensors", "policy")[0] for stage in ("reference", "ppo")]
    reward, _ = RewardModel.load(folder / "reward" / "model.safetensors")
    return [weights_hash(model) for model in (*policies, reward)]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, where: str, calls: int) -> None:
    """Ctrl-C in the given call of a function, counted from 1."""
    module, name = where.rsplit(".", 1)
    whole, seen = getattr(importlib.import_module(module), name), []

    def interrupted(*arguments: Any, **more: Any) -> Any:
        seen.append(1)
        if len(seen) == calls:
            raise KeyboardInterrupt
        return whole(*arguments, **more)

    monkeypatch.setattr(where, interrupted)


def counted(monkeypatch: pytest.MonkeyPatch, where: str) -> list[int]:
    """Grows by one with each call of a function."""
    module, name = where.rsplit(".", 1)
    whole, seen = getattr(importlib.import_module(module), name), []
    monkeypatch.setattr(where, lambda *given, **more: (seen.append(1), whole(*given, **more))[1])
    return seen


@pytest.mark.long
def test_ctrl_c_anywhere_changes_nothing(small: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the second member's training, in the learning curve's, in PPO's fifth update; metrics are the same, too."""
    whole, broken = small("whole"), small("broken")
    run(whole, *(name for name, _, _ in STAGES))
    run(broken, "reference", "collect")
    for stage, where, calls in (
        ("train-reward", "stages.reward.fit.train_epoch", 6),
        ("train-reward", "stages.reward.fit.train_epoch", 4),
        ("ppo", "stages.ppo.run.update", 5),
        ("ppo", "stages.ppo.run.update", 2),
    ):
        with monkeypatch.context() as patch:
            interrupt_at(patch, where, calls)
            with pytest.raises(Stopped, match="resumes from there"):
                run(broken, stage)
        assert list((broken.runs / broken.name / ("ppo" if stage == "ppo" else "reward")).rglob("checkpoints/**/*.pt"))
        if calls in (4, 2):
            with monkeypatch.context() as patch:
                made = counted(patch, where)
                run(broken, stage)
            assert len(made) == {"ppo": 8 - 4 - 1, "train-reward": 12 - 5 - 3}[stage], "nothing is made twice"
    assert weights(broken) == weights(whole)
    for stage in ("reward", "ppo"):
        rows = [(config.runs / config.name / stage / "metrics.csv").read_text() for config in (whole, broken)]
        assert rows[0] == rows[1]
        assert not (broken.runs / broken.name / stage / "checkpoints").exists()


def test_best_heldout_keeps_an_earlier_iterate(small: Callable[..., Config]) -> None:
    """With a learning rate that ruins the policy, the iterate that is kept is not the last."""
    config = small("ruined", lr=0.02, target_kl=None, max_kl=100.0, max_grad_norm=100.0)
    run(config, *(name for name, _, _ in STAGES))
    rows = pd.read_csv(config.runs / config.name / "ppo" / "metrics.csv")
    kept = read_json(config.runs / config.name / "ppo" / "result.json")
    assert kept["policy"]["iteration"] == int(rows["J_heldout"].argmax())
    assert kept["policy"]["iteration"] < 8
    assert kept["policy"]["J_heldout"] == pytest.approx(rows["J_heldout"].max(), abs=1e-4)


@pytest.mark.parametrize(
    "ruinous",
    [{"lr": 0.5, "max_kl": 0.5}, {"lr": 1e18, "epochs": 1, "minibatch_size": 60, "warmup_fraction": 0.0}],
    ids=["its KL explodes", "its weights are no numbers"],
)
def test_divergence_keeps_the_last_good_iterate(
    small: Callable[..., Config], caplog: pytest.LogCaptureFixture, ruinous: dict[str, Any]
) -> None:
    lr = ruinous["lr"]
    config = small("diverged", max_grad_norm=100.0, keep="last", **ruinous | {"lr": 0.5})
    # Beyond what a configuration may say: no smaller rate overflows in so few steps.
    config = config.model_copy(update={"ppo": config.ppo.model_copy(update={"lr": lr})})
    run(config, *(name for name, _, _ in STAGES))
    kept = read_json(config.runs / config.name / "ppo" / "result.json")
    assert "PPO stopped" in caplog.text
    assert kept["policy"]["stopped"]
    assert kept["policy"]["iteration"] < 8
    assert kept["policy"]["kl"] < 1.0


def test_force_that_was_stopped_goes_on(small: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    """FORCE=1 does a finished stage anew; a forced one that was stopped is not begun a third time."""
    config = small("forced")
    run(config, *(name for name, _, _ in STAGES))
    ppo = importlib.import_module("stages.ppo.run")
    with monkeypatch.context() as patch:
        interrupt_at(patch, "stages.ppo.run.update", 6)
        with pytest.raises(Stopped, match="after iteration 5"):
            ppo.run(config, force=True)
    with monkeypatch.context() as patch:
        made = counted(patch, "stages.ppo.run.update")
        ppo.run(config, force=True)
    assert len(made) == 3


def test_a_stage_that_changes_a_frozen_model_is_caught(
    small: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small("thawed", iterations=2)
    run(config, "reference", "collect", "train-reward")
    ppo = importlib.import_module("stages.ppo.run")
    whole = ppo.optimise

    def thawed(environment: Any, *rest: Any, **named: Any) -> Any:
        made = whole(environment, *rest, **named)
        next(iter(environment.reference.buffers())).add_(1)
        return made

    monkeypatch.setattr(ppo, "optimise", thawed)
    with pytest.raises(RuntimeError, match="frozen reference was changed"):
        ppo.run(config)
    assert not (config.runs / config.name / "ppo" / "manifest.json").exists()


def start(config: Config, file: Path) -> Any:
    file.write_text(dump_config(config))
    command = ["-m", "support.tiny_network", "run", "--config", str(file)]
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    return start_command(command, env=environment, stdout=PIPE, stderr=PIPE)


@pytest.mark.long
def test_sigkill_at_random_moments(small: Callable[..., Config], tmp_path: Path) -> None:
    """The whole pipeline in a process of its own, killed again and again; set IMAGE_RLHF_KILLS for more kills."""
    whole = small("whole")
    begin = time.monotonic()
    process = start(whole, tmp_path / "whole.yaml")
    _, said = process.communicate()
    assert process.returncode == 0, said
    took, wanted = time.monotonic() - begin, weights(whole)
    random, kills, attempt = Random(0), 0, 0
    while kills < KILLS:
        attempt += 1
        broken, before = small(f"broken{attempt}"), kills
        while True:
            process, begin = start(broken, tmp_path / "broken.yaml"), time.monotonic()
            try:
                process.wait(random.uniform(0.2, 0.95) * took if kills < KILLS else None)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
                continue
            _, said = process.communicate()
            assert process.returncode == 0, said
            break
        if kills == before:  # it was too fast to be hit: the first run paid for a cold disk, or a busy machine
            took = min(took, time.monotonic() - begin)
        assert weights(broken) == wanted
        print(f"run {attempt}: {kills - before} kills")


def test_sigterm_saves_and_says_so(small: Callable[..., Config], tmp_path: Path) -> None:
    """The command line: exit code 143, one sentence, and the same command resumes from there."""
    broken = small("broken", iterations=60)
    run(broken, "reference", "collect", "train-reward")
    process = start(broken, tmp_path / "broken.yaml")
    folder = broken.runs / broken.name / "ppo" / "checkpoints"
    while not list(folder.glob("*.pt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "stopped after iteration" in said
    assert "Traceback" not in said
    assert list(folder.glob("*.pt"))
