"""Trackers behind their interface: one that fails is left alone, an interrupted run goes on, MLflow and W&B for real."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config import Config, parse_config
from pipeline.errors import Stopped, UserError
from pipeline.run.atomic_files import read_json
from pipeline.run.run_folder import RunFolder, StageFolder
from pipeline.run.runtime import Runtime
from pipeline.tracking.metrics_log import Metrics
from pipeline.tracking.metrics_log import tracker as trackers
from pipeline.tracking.tracker import Opening, Tracking, flat, open_tracking

CPU = Runtime(torch.device("cpu"))


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


def config_of(folder: Path, tracker: str) -> Config:
    tree = {"name": "a", "runs": str(folder / "runs"), "images": {"source": "digits"}}
    return parse_config({**tree, "tracking": {"tracker": tracker, "project": "p"}}, "test")


def streams() -> tuple[Any, ...]:
    kind = np.random.get_state()  # noqa: NPY002
    return random.getstate(), kind[1].tolist(), kind[2], torch.get_rng_state().tolist()


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
def test_a_failing_tracker_is_named_once(tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = streams()
    follow = tracking(tmp_path, fail=(where,))
    with Metrics(tmp_path / "metrics.csv", follow) as metrics:
        for step in range(3):
            metrics.add(step=step)
    follow.finish({"x": 1.0})
    said = capsys.readouterr().err
    assert said.count("warning: mlflow cannot be told the figures (no server)") == 1
    assert said.count("warning") == 1
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


def interrupted_stage(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """A stage of five rows that is stopped after three and gone on with; tracker.json when it was stopped, and after."""
    inputs = {"images": "x"}

    def once(fresh: bool) -> StageFolder:
        stage = RunFolder(config).stage("ppo")
        stage.begin()
        with stage.metrics(inputs, CPU) as metrics:
            metrics.resume([] if fresh else [{"loss": 1.0}, {"loss": 0.5}], [] if fresh else ["loss", "bad"])
            for row in range(len(metrics.rows), 5):
                if fresh and row == 3:
                    raise KeyboardInterrupt
                metrics.add(loss=1 / (row + 1), bad=float("nan"))
        stage.finish(inputs, ["metrics.csv"], {"policy": {"kl": 0.5, "estimator": "expected", "stopped": None}})
        return stage

    file = config.runs / config.name / "ppo" / "tracker.json"
    with pytest.raises(KeyboardInterrupt):
        once(True)
    stopped = read_json(file)
    once(False)
    return stopped, read_json(file)


@pytest.mark.parametrize("told", [False, True])
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    """A real store of files: the default in runs/mlruns, or where MLflow is told to."""
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    store = tmp_path / "elsewhere" if told else tmp_path / "runs" / "mlruns"
    if told:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store.as_uri())
    else:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = streams()
    stopped, finished = interrupted_stage(config_of(tmp_path, "mlflow"))
    assert streams() == before
    assert stopped["id"] == finished["id"]
    assert (stopped["finished"], finished["finished"]) == (False, True)
    client = mlflow.tracking.MlflowClient(tracking_uri=store.as_uri())
    experiment = client.get_experiment_by_name("p")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.run_name, run.info.status) == (finished["id"], "a/ppo", "FINISHED")
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(n, pytest.approx(1 / n)) for n in range(1, 6)]
    assert run.data.metrics["result.policy.kl"] == 0.5
    assert "bad" not in run.data.metrics
    assert run.data.tags["result.policy.estimator"] == "expected"
    assert run.data.tags["stage"] == "ppo"
    assert run.data.params["seed"] == "0"


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B's own service, no network: what it writes is read back from its file."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    before = streams()
    stopped, finished = interrupted_stage(config_of(tmp_path, "wandb"))
    assert streams() == before
    assert stopped["id"] == finished["id"]
    assert (stopped["rows"], finished["rows"]) == (3, 5)
    folder = tmp_path / "runs" / "a" / "ppo" / "wandb"
    files = [path for path in folder.rglob(f"run-{finished['id']}.wandb") if "latest-run" not in path.parts]
    rows, summary = written(files)
    assert sorted(rows) == [(n, pytest.approx(1 / n)) for n in range(1, 6)]
    assert summary["result.policy.kl"] == 0.5
    assert summary["result.policy.estimator"] == "expected"


def records(file: Path) -> Iterator[bytes]:
    """Records of W&B's own files: LevelDB's log format after a header of 7 bytes, in blocks of 32 KiB."""
    data, place, record = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 2**15 - place % 2**15 < 7:  # no room for another header in this block
            place += 2**15 - place % 2**15
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


def written(files: list[Path]) -> tuple[list[tuple[int, float]], dict[str, Any]]:
    """(step, loss) of every row, and the summary."""
    from wandb.proto import wandb_internal_pb2

    def values(items: Any) -> dict[str, Any]:
        return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}

    rows: list[tuple[int, float]] = []
    summary: dict[str, Any] = {}
    for record in (record for file in files for record in records(file)):
        parsed = wandb_internal_pb2.Record()
        parsed.ParseFromString(record)
        if parsed.WhichOneof("record_type") == "history":
            row = values(parsed.history.item)
            rows.append((row.get("_step", parsed.history.step.num), row["loss"]))
        elif parsed.WhichOneof("record_type") == "summary":
            summary |= values(parsed.summary.update)
    return rows, summary
