"""Every stage that trains tells its tracker all it logs; the weights are the same bits with one and without."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config import Config
from pipeline.errors import Stopped
from pipeline.run.atomic_files import read_json, sha256_of
from pipeline.tracking import tracker as trackers
from pipeline.tracking.tracker import Opening
from stages.cli import STAGES

TRAINED = ("reference", "reward", "ppo")


class Disturbing:
    """A tracker that draws from every random stream, and after `lasts` rows is down for good."""

    made: list[Disturbing]
    lasts = 10**6

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.id, self.where = opening.known or f"run-{len(self.made)}", "in memory"
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.figures: dict[str, Any] = {}
        self.status = ""
        self._disturb()
        self.made.append(self)

    def _disturb(self) -> None:
        random.seed(7)
        np.random.seed(7)  # noqa: NPY002
        torch.manual_seed(7)

    def log(self, row: dict[str, float], step: int) -> None:
        self._disturb()
        if len(self.rows) >= self.lasts:
            raise TimeoutError("the server is down")
        self.rows.append((step, dict(row)))

    def summarise(self, figures: dict[str, Any]) -> None:
        self._disturb()
        self.figures = dict(figures)

    def close(self, status: str) -> None:
        self._disturb()
        self.status = status


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Disturbing]:
    """What trackers there were; `tracking.tracker=mlflow` makes these."""
    Disturbing.made = []
    monkeypatch.setitem(sys.modules, "pipeline.tracking.mlflow_tracker", SimpleNamespace(MLflowTracker=Disturbing))
    monkeypatch.setitem(trackers.PACKAGES, "mlflow", "json")
    return Disturbing.made


@pytest.fixture
def small(
    image_folder: Callable[..., Path], tmp_path: Path, stripes_config: Callable[..., Config]
) -> Callable[..., Config]:
    """With dropout, whose draws come from the global stream that a tracker might disturb."""
    root = image_folder(classes=3, train=16, test=6)

    def make(name: str, tracker: str) -> Config:
        return stripes_config(
            root,
            tmp_path / name,
            model={"backbone": "tiny", "trainable": "last_block"},
            tracking={"tracker": tracker},
            collect={"count": 60},
            reward={"epochs": 3, "curve": []},
            reference={"epochs": 3},
            ppo={"iterations": 4, "batch_size": 24, "minibatch_size": 12},
            runtime={"checkpoint_seconds": 0},
        )

    return make


def run(config: Config, *names: str) -> None:
    for name, module, _ in STAGES:
        if not names or name in names:
            importlib.import_module(module).run(config)


def weights(config: Config) -> list[str]:
    return [sha256_of(config.runs / config.name / stage / "model.safetensors") for stage in TRAINED]


def columns(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{name: float(f"{value:.6g}") for name, value in row.items()} for row in rows]


@pytest.mark.long
def test_all_that_is_logged_and_the_same_bits(small: Callable[..., Config], made: list[Disturbing]) -> None:
    without, told = small("without", "none"), small("told", "mlflow")
    run(without)
    assert made == []
    run(told)
    assert weights(told) == weights(without)
    assert [tracker.opening.stage for tracker in made] == list(TRAINED)
    for tracker in made:
        folder = told.runs / told.name / tracker.opening.stage
        table = pd.read_csv(folder / "metrics.csv")
        in_file = [{n: v for n, v in row.items() if not pd.isna(v)} for row in table.to_dict("records")]
        assert [step for step, _ in tracker.rows] == list(range(1, len(table) + 1))
        assert columns([row for _, row in tracker.rows]) == columns(in_file)
        assert tracker.figures["result.seconds"] == read_json(folder / "result.json")["seconds"]
        assert tracker.status == "finished"
    assert made[2].figures["result.policy.kl"] == read_json(folder / "result.json")["policy"]["kl"]
    run(told)
    assert len(made) == 3, "what is up to date has nothing to tell"


@pytest.mark.long
def test_a_killed_stage_goes_on_in_the_same_run(
    small: Callable[..., Config], made: list[Disturbing], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = small("whole", "none"), small("broken", "mlflow")
    run(whole)
    run(broken, "reference", "collect", "train-reward")
    update, calls = importlib.import_module("stages.ppo.run").update, []

    def interrupted(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return update(*given)

    with monkeypatch.context() as patch:
        patch.setattr("stages.ppo.run.update", interrupted)
        with pytest.raises(Stopped):
            run(broken, "ppo")
    assert made[-1].status == "stopped"
    run(broken, "ppo")
    before, after = made[-2:]
    assert after.opening.known == after.id == before.id
    assert [step for step, _ in before.rows + after.rows] == [1, 2, 3, 4, 5]
    assert weights(broken) == weights(whole)
    importlib.import_module("stages.ppo.run").run(broken, force=True)
    assert made[-1].id != before.id, "a stage that is forced is a new run"


def test_a_tracker_that_goes_down_stops_nothing(
    small: Callable[..., Config],
    made: list[Disturbing],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(Disturbing, "lasts", 2)
    without, told = small("without", "none"), small("told", "mlflow")
    run(without)
    run(told)
    assert caplog.text.count("the server is down") == len(TRAINED), "once a stage"
    assert weights(told) == weights(without)
