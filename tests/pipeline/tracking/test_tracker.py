"""Trackers behind their interface: one that fails is left alone, an interrupted run goes on, MLflow and W&B for real."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support.tracking import config_of, streams

from pipeline.errors import Stopped, UserError
from pipeline.run.run_folder import RunFolder
from pipeline.tracking import tracker as trackers
from pipeline.tracking.metrics_log import Metrics
from pipeline.tracking.tracker import Opening, Tracking, flat, open_tracking


class Remembering:
    """A tracker that remembers; `fail` names methods that raise."""

    made: list[Remembering]

    def __init__(self, known: str | None = None, fail: tuple[str, ...] = ()) -> None:
        self.id = known or f"run-{len(self.made)}"
        self.where = "in memory"
        self.fail = fail
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.figures: dict[str, Any] = {}
        self.status = ""
        self._told("open")
        self.made.append(self)

    def _told(self, what: str) -> None:
        random.random()
        np.random.rand()  # noqa: NPY002  the global stream is what must not be touched
        torch.rand(1)
        if what in self.fail:
            raise ConnectionError(f"no server\nand a long story about {what}")

    def log(self, row: Mapping[str, float], step: int) -> None:
        self._told("log")
        self.rows.append((step, dict(row)))

    def summarise(self, figures: Mapping[str, Any]) -> None:
        self._told("summarise")
        self.figures = dict(figures)

    def close(self, status: str) -> None:
        self._told("close")
        self.status = status


@pytest.fixture(autouse=True)
def made() -> list[Remembering]:
    Remembering.made = []
    return Remembering.made


def tracking(folder: Path, key: str = "k", fail: tuple[str, ...] = ()) -> Tracking:
    return Tracking("mlflow", folder / "tracker.json", key, lambda known: Remembering(known, fail))


def test_rows_and_final_figures(tmp_path: Path, made: list[Remembering]) -> None:
    before = streams()
    follow = tracking(tmp_path)
    with Metrics(tmp_path / "metrics.csv", follow) as metrics:
        metrics.add(epoch=1, loss=0.5, accuracy=None)
        metrics.add(epoch=2, loss=0.25, accuracy=0.75)
    assert made[0].status == "", "the final figures are yet to come"
    follow.finish({"policy": {"kl": 0.5, "stopped": None, "interval": [0.1, 0.2], "estimator": "exact"}, "seconds": 3})
    assert made[0].rows == [(1, {"epoch": 1, "loss": 0.5}), (2, {"epoch": 2, "loss": 0.25, "accuracy": 0.75})]
    assert made[0].figures == {
        "result.policy.kl": 0.5,
        "result.policy.interval.0": 0.1,
        "result.policy.interval.1": 0.2,
        "result.policy.estimator": "exact",
        "result.seconds": 3,
    }
    assert made[0].status == "finished"
    assert streams() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Stopped("stopped", 130), ValueError()])
def test_an_interrupted_run_goes_on(tmp_path: Path, made: list[Remembering], error: BaseException) -> None:
    """Under the same id, with every row once: those after the last checkpoint are made again and the same."""

    def first() -> None:
        with Metrics(tmp_path / "metrics.csv", tracking(tmp_path)) as metrics:
            for step in range(5):
                metrics.add(step=step)
            raise error

    with pytest.raises(type(error)):
        first()
    assert made[0].status == ("failed" if isinstance(error, ValueError) else "stopped")
    follow = tracking(tmp_path)
    with Metrics(tmp_path / "metrics.csv", follow) as metrics:
        metrics.resume([{"step": 0}, {"step": 1}, {"step": 2}])
        for step in range(3, 7):
            metrics.add(step=step)
    follow.finish({})
    assert made[1].id == made[0].id
    assert [step for run in made for step, _ in run.rows] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("change", ["finished", "inputs", "damaged", "tracker"])
def test_what_is_another_run(tmp_path: Path, made: list[Remembering], change: str) -> None:
    first = tracking(tmp_path)
    first.log({"x": 1.0}, 1)
    first.close("finished" if change == "finished" else "stopped")
    if change == "damaged":
        (tmp_path / "tracker.json").write_text("{")
    if change == "tracker":
        again = Tracking("wandb", tmp_path / "tracker.json", "k", lambda known: Remembering(known))
    else:
        again = tracking(tmp_path, "other" if change == "inputs" else "k")
    again.log({"x": 1.0}, 1)
    assert made[1].id != made[0].id
    assert len(made[1].rows) == 1


@pytest.mark.parametrize("where", ["open", "log", "summarise", "close"])
def test_a_failing_tracker_is_named_once(tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture) -> None:
    before = streams()
    follow = tracking(tmp_path, fail=(where,))
    with Metrics(tmp_path / "metrics.csv", follow) as metrics:
        for step in range(3):
            metrics.add(step=step)
    follow.finish({"x": 1.0})
    said = caplog.text
    assert said.count("mlflow does not accept metrics (no server)") == 1
    assert said.count("WARNING") == 1
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 4
    assert streams() == before


def test_a_missing_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written: a finished stage stays finished."""
    for found in (None, SimpleNamespace(origin=None)):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, found=found: found)
        for name in ("mlflow", "wandb"):
            stage = RunFolder(config_of(tmp_path, name)).stage("reference")
            with pytest.raises(UserError, match=rf"pip install 'image-rlhf\[{name}\]'"):
                stage.begin()
    assert not (tmp_path / "runs").exists()


def test_tracking_is_no_input_of_a_stage(tmp_path: Path) -> None:
    """A finished stage is not done again because somebody wants its figures elsewhere."""
    for name in ("reference", "collect", "reward", "ppo"):
        hashes = {RunFolder(config_of(tmp_path, t)).stage(name).settings for t in ("none", "mlflow", "wandb")}
        assert len(hashes) == 1


def test_a_tracker_gets_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Opening] = []
    fake = SimpleNamespace(MLflowTracker=lambda opening: (seen.append(opening), Remembering())[1])
    monkeypatch.setitem(sys.modules, "pipeline.tracking.mlflow_tracker", fake)
    monkeypatch.setitem(trackers.PACKAGES, "mlflow", "json")
    assert open_tracking(config_of(tmp_path, "mlflow"), "ppo", tmp_path, "k")
    assert open_tracking(config_of(tmp_path, "none"), "ppo", tmp_path, "k") is None
    (opening,) = seen
    assert (opening.project, opening.name, opening.stage) == ("p", "a", "ppo")
    assert opening.settings["ppo.beta"] == config_of(tmp_path, "none").ppo.beta


def test_nested_by_dotted_key() -> None:
    assert flat({"a": {"b": 1, "c": {}}, "d": [1, 2], "e": ["x"], "f": []}) == {
        "a.b": 1,
        "d.0": 1,
        "d.1": 2,
        "e": ["x"],
        "f": [],
    }
