"""MLflow: one run per stage, in the experiment of the project's name.

The destination is MLFLOW_TRACKING_URI or MLflow's other configuration; by default files in runs/mlruns, which need no
server and no database.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: no data to anyone else
import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from pipeline.tracking.tracker import Figures, Opening, Status

STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
BATCH_SIZE = 100  # parameters or metrics per request; every version and store accepts as many
MAX_VALUE_LENGTH = 500  # characters
# Training waits for the server, so that a failure must be noticed in seconds. MLflow's defaults are 7 times 120 seconds.
REQUEST_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), BATCH_SIZE):
        yield items[first : first + BATCH_SIZE]


def _now() -> int:
    return int(time.time() * 1000)


class MLflowTracker:
    """A run of MLflow. Implements `Tracker`."""

    def __init__(self, opening: Opening) -> None:
        for name, value in REQUEST_LIMITS.items():
            os.environ.setdefault(name, value)
        configured = mlflow.is_tracking_uri_set()
        uri = mlflow.get_tracking_uri() if configured else (opening.runs / "mlruns").absolute().as_uri()
        if uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # required since MLflow 3
        self._client = MlflowClient(tracking_uri=uri)
        self.where = f"{opening.project} at {uri}"
        if opening.known:
            self.id = opening.known
            self._client.update_run(self.id, status="RUNNING")
            return
        experiment = self._client.get_experiment_by_name(opening.project)
        number = experiment.experiment_id if experiment else self._client.create_experiment(opening.project)
        tags = {"run": opening.name, "stage": opening.stage}
        self.id = self._client.create_run(number, run_name=f"{opening.name}/{opening.stage}", tags=tags).info.run_id
        params = [Param(name, str(value)[:MAX_VALUE_LENGTH]) for name, value in opening.settings.items()]
        for part in _batches(params):
            self._client.log_batch(self.id, params=part)

    def log(self, row: Mapping[str, float], step: int) -> None:
        now = _now()
        # Not every store accepts NaN and Inf; metrics.csv has them.
        metrics = [Metric(name, float(value), now, step) for name, value in row.items() if math.isfinite(value)]
        self._client.log_batch(self.id, metrics=metrics)

    def summarise(self, figures: Figures) -> None:
        now = _now()
        numbers = {name: value for name, value in figures.items() if isinstance(value, float | int)}
        metrics = [Metric(name, float(value), now, 0) for name, value in numbers.items() if math.isfinite(value)]
        tags = [RunTag(name, str(value)[:MAX_VALUE_LENGTH]) for name, value in figures.items() if name not in numbers]
        for part in _batches(metrics):
            self._client.log_batch(self.id, metrics=part)
        for part in _batches(tags):
            self._client.log_batch(self.id, tags=part)

    def close(self, status: Status) -> None:
        self._client.set_terminated(self.id, status=STATUS[status])
