"""MLflow and W&B for real: an interrupted stage goes on under the same id, and its figures are read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.tracking import CPU, config_of, streams

from pipeline.config import Config
from pipeline.run.atomic_files import read_json
from pipeline.run.run_folder import RunFolder, StageFolder


def interrupted_stage(config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """A stage of five rows that is stopped after three and resumed; tracker.json when it was stopped, and after."""
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


@pytest.mark.long
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
