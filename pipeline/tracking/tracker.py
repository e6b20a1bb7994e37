"""Metrics to MLflow or Weights & Biases, through one small interface.

A tracker is optional: everything is also in metrics.csv, TensorBoard's events and result.json. A tracker that fails is
reported once and not used any more, and calls to a tracker do not change any random stream.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pipeline.config import RunSettings
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json, write_json
from pipeline.run.optional_packages import missing
from pipeline.run.random_streams import preserve_random_streams

_log = logging.getLogger(__name__)

Status = Literal["finished", "stopped", "failed"]
Figures = Mapping[str, float | str]
PACKAGES = {"mlflow": "mlflow", "wandb": "wandb"}  # of each tracker; the extras have the same names


class Tracker(Protocol):
    """One run at a tracker, open from its construction to `close`. Any method may raise any exception."""

    id: str  # to resume the run
    where: str  # address or folder, for messages

    def log(self, row: Mapping[str, float], step: int) -> None:
        """One row of metrics; steps count from 1."""

    def summarise(self, figures: Figures) -> None:
        """The final results."""

    def close(self, status: Status) -> None:
        """End the run."""


@dataclass(frozen=True)
class Opening:
    """The arguments to open a tracker's run.

    Attributes:
        name: of the run; `stage` is the stage that is tracked.
        settings: the resolved configuration, by dotted key.
        folder: the stage's own; `runs`, the folder of all runs.
        known: the id of the tracker's run to resume, if any.
    """

    project: str
    name: str
    stage: str
    settings: dict[str, Any]
    folder: Path
    runs: Path
    known: str | None = None


def require_package(config: RunSettings) -> None:
    """Raise UserError if the tracker that the configuration asks for is not installed."""
    name = config.tracking.tracker
    if name != "none" and missing([PACKAGES[name]]):
        raise UserError(
            f"tracking.tracker={name} needs the package {PACKAGES[name]}: pip install 'image-rlhf[{name}]', or continue "
            "with SET=tracking.tracker=none"
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping by dotted key; items of numeric lists by their index."""
    flattened: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, list) and value and all(isinstance(item, float | int) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            flattened |= flat(value, f"{prefix}{name}.")
        else:
            flattened[prefix + name] = value
    return flattened


class Tracking:
    """Calls a tracker so that its errors do not stop the stage; an interrupted stage resumes its tracker run.

    The run's id and number of rows are saved next to the stage's metrics, so that rows which a resumed stage writes again
    are sent once only.

    Args:
        name: of the tracker.
        file: tracker.json.
        key: hash of inputs and settings; a new key starts a new run.
        start: opens the tracker's run with the given id, or a new one for None.
    """

    def __init__(self, name: str, file: Path, key: str, start: Callable[[str | None], Tracker]) -> None:
        self.name, self.file, self.key = name, file, key
        self.rows = 0
        self._tracker: Tracker | None = None
        known = self._known()
        self._safely(lambda: self._start(start, known))

    def _known(self) -> str | None:
        """The id of the run to resume: an unfinished one of the same inputs and settings."""
        try:
            saved = read_json(self.file)
            if (saved["tracker"], saved["key"], saved["finished"]) == (self.name, self.key, False):
                self.rows = int(saved["rows"])
                return str(saved["id"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing or damaged: at worst, this starts a second run at the tracker
        return None

    def _start(self, start: Callable[[str | None], Tracker], known: str | None) -> None:
        self._tracker = start(known)
        self._save(finished=False)
        _log.info(f"tracking: {self.name}, {self._tracker.where}")

    def _save(self, finished: bool) -> None:
        assert self._tracker is not None
        saved = {"tracker": self.name, "id": self._tracker.id, "key": self.key, "rows": self.rows, "finished": finished}
        write_json(self.file, saved)

    def _safely(self, action: Callable[[], None]) -> None:
        try:
            with preserve_random_streams():
                action()
        except Exception as error:  # servers and libraries may raise anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._tracker = None
            _log.warning(
                f"{self.name} does not accept metrics ({reason}); training continues without it. metrics.csv and TensorBoard "
                "have all of them"
            )

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Log a row; `step` is its number, from 1. Rows that the tracker already has are skipped."""
        if (tracker := self._tracker) and step > self.rows:
            self._safely(lambda: tracker.log(row, step))
            self.rows = step
            if self._tracker:
                self._safely(lambda: self._save(finished=False))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Send the final results, those of result.json, and close."""
        if tracker := self._tracker:
            figures = {f"result.{name}": value for name, value in flat(result).items() if value is not None}
            self._safely(lambda: tracker.summarise(figures))
            self.close("finished")

    def close(self, status: Status) -> None:
        """End the tracker's run; one that did not finish can be resumed."""
        if tracker := self._tracker:
            self._safely(lambda: tracker.close(status))
        if self._tracker:
            self._safely(lambda: self._save(finished=status == "finished"))
        self._tracker = None


def open_tracking(config: RunSettings, stage: str, folder: Path, key: str) -> Tracking | None:
    """The tracker that the configuration asks for, opened for a stage; None if it asks for none.

    Args:
        folder: the stage's.
        key: hash of the stage's inputs and settings.

    Raises:
        UserError: its package is not installed.
    """
    name = config.tracking.tracker
    if name == "none":
        return None
    require_package(config)
    settings = flat(config.model_dump(mode="json"))

    def start(known: str | None) -> Tracker:
        opening = Opening(config.tracking.project, config.name, stage, settings, folder, config.runs, known)
        if name == "mlflow":
            from pipeline.tracking.mlflow_tracker import MLflowTracker

            return MLflowTracker(opening)
        from pipeline.tracking.wandb_tracker import WandbTracker

        return WandbTracker(opening)

    return Tracking(name, folder / "tracker.json", key, start)
