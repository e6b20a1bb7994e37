"""Figures to MLflow or Weights & Biases as well, through one small interface.

A tracker is a convenience: what it is told is in metrics.csv, TensorBoard's events and result.json, too. So one that
fails is named once and then left alone, and no random stream is another after it was called than before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.run.atomic_files import read_json, write_json
from pipeline.run.checkpoints import preserve_random_streams
from pipeline.run.optional_packages import missing

_log = logging.getLogger(__name__)

Status = Literal["finished", "stopped", "failed"]
Figures = Mapping[str, float | str]
PACKAGES = {"mlflow": "mlflow", "wandb": "wandb"}  # what each extra of that name brings


class Tracker(Protocol):
    """One run at a tracker, open from when it was made until `close`. Any method may raise anything."""

    id: str  # by which the same run is opened again
    where: str  # for people: an address or a folder

    def log(self, row: Mapping[str, float], step: int) -> None:
        """One row of metrics; steps count from 1."""

    def summarise(self, figures: Figures) -> None:
        """The final figures."""

    def close(self, status: Status) -> None:
        """Nothing comes after."""


@dataclass(frozen=True)
class Opening:
    """What a tracker's run is opened with.

    Attributes:
        name: of the run; `stage` of it is what is tracked.
        settings: the resolved configuration, by dotted key.
        folder: the stage's own; `runs`, the folder of all runs.
        known: the id of the run that is to go on, if it is one.
    """

    project: str
    name: str
    stage: str
    settings: dict[str, Any]
    folder: Path
    runs: Path
    known: str | None = None


def require_package(config: Config) -> None:
    """Raise UserError if the tracker that the configuration asks for is not installed."""
    name = config.tracking.tracker
    if name != "none" and missing([PACKAGES[name]]):
        raise UserError(
            f"tracking.tracker={name} needs the package {PACKAGES[name]}: pip install 'image-rlhf[{name}]', or continue "
            "with SET=tracking.tracker=none"
        )


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping by dotted key; the items of a list by their number."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, list) and value and all(isinstance(item, float | int) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


class Tracking:
    """Calls a tracker such that no error in it stops a stage; an interrupted stage resumes the same tracker run.

    The run's id and the number of rows it has are kept in a file beside the stage's metrics, so that the rows which a
    resumed stage writes anew do not reach the tracker twice.

    Args:
        name: of the tracker.
        file: tracker.json.
        key: of inputs and settings; another one is another run.
        start: opens the tracker's run, as the one of the id it is given or as a new one.
    """

    def __init__(self, name: str, file: Path, key: str, start: Callable[[str | None], Tracker]) -> None:
        self.name, self.file, self.key = name, file, key
        self.rows = 0
        self._tracker: Tracker | None = None
        known = self._known()
        self._safely(lambda: self._start(start, known))

    def _known(self) -> str | None:
        """The id of the run to go on with: one of these inputs and settings that has not finished."""
        try:
            saved = read_json(self.file)
            if (saved["tracker"], saved["key"], saved["finished"]) == (self.name, self.key, False):
                self.rows = int(saved["rows"])
                return str(saved["id"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none, or a damaged one: the worst that follows is a second run at the tracker
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
        except Exception as error:  # a server, a network and two libraries: it may be anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._tracker = None
            _log.warning(
                f"{self.name} does not accept metrics ({reason}); training continues without it. metrics.csv and TensorBoard "
                "have them all"
            )

    def log(self, row: Mapping[str, float], step: int) -> None:
        """One row; `step` is its number, from 1. Rows that the tracker has from before are passed over."""
        if (tracker := self._tracker) and step > self.rows:
            self._safely(lambda: tracker.log(row, step))
            self.rows = step
            if self._tracker:
                self._safely(lambda: self._save(finished=False))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Hand over the final figures, those of result.json, and close."""
        if tracker := self._tracker:
            figures = {f"result.{name}": value for name, value in flat(result).items() if value is not None}
            self._safely(lambda: tracker.summarise(figures))
            self.close("finished")

    def close(self, status: Status) -> None:
        """End the tracker's run; one that did not finish can be gone on with."""
        if tracker := self._tracker:
            self._safely(lambda: tracker.close(status))
        if self._tracker:
            self._safely(lambda: self._save(finished=status == "finished"))
        self._tracker = None


def open_tracking(config: Config, stage: str, folder: Path, key: str) -> Tracking | None:
    """The tracker that the configuration asks for, opened for a stage; None if it asks for none.

    Args:
        folder: the stage's.
        key: of the stage's inputs and settings.

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
