"""runs/<name>/<stage>/: the outputs of a stage, the hashes of its inputs, and whether it is up to date.

A finished stage has a manifest with the hash of every input, of its settings and of every output. The manifest is
written last, so that an interrupted stage has none and is run again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedback_store.prefix import limited
from feedback_store.store import FeedbackStore
from feedback_store.store_registry import open_store
from pipeline.config import RunSettings, dump_config
from pipeline.errors import UserError
from pipeline.run import next_command, versions
from pipeline.run.atomic_files import Damaged, read_object, sha256_of, short_hash, write_atomically, write_json
from pipeline.run.checkpoints import Checkpoints
from pipeline.run.estimate_file import read_estimate
from pipeline.run.manifest import NAME, RESULT, TARGETS, Manifest, how_to_remake, read_manifest
from pipeline.run.rounds_file import add_rounds
from pipeline.run.runtime import Runtime, peak_memory_mb
from pipeline.run.settings_hash import settings_hash
from pipeline.tracking.metrics_log import Metrics
from pipeline.tracking.tracker import Tracking, open_tracking, require_package

__all__ = ["TARGETS", "RunFolder", "StageFolder"]

_log = logging.getLogger(__name__)
_WARNED: set[tuple[Path, str]] = set()


@dataclass(frozen=True)
class RunFolder:
    """All stages of one run."""

    config: RunSettings

    @property
    def path(self) -> Path:
        return self.config.runs / self.config.name

    @property
    def cache(self) -> Path:
        """Decoded images, features and tables, shared by all runs; safe to delete."""
        return self.config.runs / ".cache"

    @property
    def feedback(self) -> Path:
        return self.config.collect.folder or self.path / "feedback"

    def open_store(self) -> FeedbackStore:
        """The judgments of this run; raises FeedbackError if `collect.store` cannot be opened."""
        return limited(open_store(self.config.collect.store, self.feedback), self.config.collect.first_rows)

    def stage(self, name: str) -> StageFolder:
        return StageFolder(self, name)

    def prepare(self) -> None:
        """Create the run's folder.

        Raises:
            UserError: it cannot be created.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"runs: the folder {self.path} cannot be created ({error.strerror}); set runs to a writable folder"
            ) from None

    def require(self, stage: str, file: str) -> Path:
        """The path of an earlier stage's output, whose hash is verified.

        Raises:
            UserError: it is missing or was changed; the message names the target that creates it.
        """
        path = self.path / stage / file
        manifest = read_manifest(self.path / stage)
        if manifest is None or not path.is_file():
            raise UserError(
                f"{path}: missing; run `{next_command.make(TARGETS[stage])}` first (run '{self.config.name}')"
            )
        manifest.verify(file)
        self._warn_if_stale(manifest)
        return path

    def read(self, stage: str, file: str, *required: str) -> dict[str, Any]:
        """A JSON object that an earlier stage wrote.

        Args:
            required: keys that it must have.

        Raises:
            UserError: it is missing, was changed, or is damaged.
        """
        path = self.require(stage, file)
        try:
            return read_object(path, *required)
        except Damaged as error:
            raise UserError(f"{path}: damaged ({error}); {how_to_remake(stage)}") from None

    def _warn_if_stale(self, manifest: Manifest) -> None:
        """Warn, once per process, that an earlier stage ran with other settings than the present ones."""
        folder = self.stage(manifest.stage)
        if (folder.path, folder.settings) not in _WARNED and manifest.settings != folder.settings:
            _WARNED.add((folder.path, folder.settings))
            again = next_command.make(TARGETS[manifest.stage])
            _log.warning(
                f"{folder.path}: made with other settings (see its config.yaml); `{again}` runs it with the present ones"
            )

    def write_summary(self) -> dict[str, Any]:
        """Write summary.json: the result.json of every finished stage, and the rounds; a damaged file is reported and left out."""
        summary: dict[str, Any] = {
            "name": self.config.name,
            "seed": self.config.seed,
            "folder": str(self.path),
            "seconds": {},
            "peak_rss_mb": 0.0,
        }
        for stage in ("reference", "collect", "reward", "ppo", "infer"):
            path = self.path / stage / RESULT
            if not path.is_file():
                continue
            try:
                result = _result(path)
            except Damaged as error:
                _log.warning(f"{path}: damaged ({error}), left out of summary.json; {how_to_remake(stage)}")
                continue
            summary["seconds"][stage] = result.pop("seconds")
            summary["peak_rss_mb"] = max(summary["peak_rss_mb"], result.pop("peak_rss_mb"))
            summary.update(result)
        if "policy" in summary and (estimate := read_estimate(self.path)):
            summary["policy"]["estimate"] = estimate
        add_rounds(summary, self.path)
        write_json(self.path / "summary.json", summary)
        return summary


def _result(path: Path) -> dict[str, Any]:
    """Read a result.json; raises Damaged."""
    result = read_object(path, "seconds", "peak_rss_mb")
    if not all(isinstance(result[name], int | float) for name in ("seconds", "peak_rss_mb")):
        raise Damaged("'seconds' or 'peak_rss_mb' is not a number")
    return result


@dataclass
class StageFolder:
    """One stage's folder; `begin` invalidates previous outputs, `finish` writes the manifest."""

    run: RunFolder
    name: str
    started: float = field(default_factory=time.perf_counter)
    tracking: Tracking | None = None

    @property
    def path(self) -> Path:
        return self.run.path / self.name

    @property
    def settings(self) -> str:
        """Hash of the settings this stage depends on."""
        return settings_hash(self.run.config, self.name)

    def _description(self, inputs: dict[str, str]) -> dict[str, Any]:
        return {"inputs": inputs, "settings": self.settings, "versions": versions.installed()}

    def is_current(self, inputs: dict[str, str]) -> bool:
        """Whether the stage finished with these inputs and settings, and its outputs are unchanged."""
        try:
            manifest = read_manifest(self.path)
            if manifest is None or manifest.settings != self.settings:
                return False
            if manifest.inputs != inputs or manifest.versions != versions.installed():
                return False
            names = (*manifest.outputs, RESULT)
            if not all((self.path / name).is_file() for name in names):
                return False
            reason = next((change for name in names if (change := manifest.changed(name))), "")
            _result(self.path / RESULT)
        except (UserError, Damaged) as error:
            reason = str(error)
        if reason:
            _log.warning(f"{self.path}: {reason}; the stage runs again")
        return not reason

    def checkpoints(self, inputs: dict[str, str], what: str, runtime: Runtime, force: bool = False) -> Checkpoints:
        """Checkpoints of this stage's loop, valid for these inputs and settings.

        Args:
            what: a step of the loop, e.g. `iteration`, for messages.
            force: delete the checkpoints of a finished stage, so that it starts from the beginning.
        """
        seconds = self.run.config.runtime.checkpoint_seconds
        checkpoints = Checkpoints(
            self.path / "checkpoints", self._key(inputs), seconds=seconds, what=what, runtime=runtime
        )
        if force and (self.path / NAME).is_file():  # a forced stage that was stopped resumes
            checkpoints.clear()
        runtime.wait()
        return checkpoints

    def _key(self, inputs: dict[str, str]) -> str:
        return short_hash(json.dumps(self._description(inputs), sort_keys=True))

    def metrics(self, inputs: dict[str, str], runtime: Runtime) -> Metrics:
        """Open metrics.csv, TensorBoard's events and the tracker's run; an interrupted stage resumes its tracker run."""
        if not runtime.is_main:
            return Metrics(None)
        self.tracking = open_tracking(self.run.config, self.name, self.path, self._key(inputs))
        return Metrics(self.path / "metrics.csv", self.tracking)

    def begin(self) -> None:
        """Invalidate the stage's previous outputs.

        Raises:
            UserError: the tracker that the configuration asks for is not installed.
        """
        require_package(self.run.config)
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / NAME).unlink(missing_ok=True)
        write_atomically(self.path / "config.yaml", dump_config(self.run.config).encode())

    def finish(self, inputs: dict[str, str], outputs: Iterable[str], result: dict[str, Any]) -> None:
        """Write result.json, the manifest and the run's summary; then close the tracker's run."""
        seconds = round(time.perf_counter() - self.started, 2)
        result = {**result, "seconds": seconds, "peak_rss_mb": round(peak_memory_mb(), 1)}
        write_json(self.path / RESULT, result)
        hashes = {name: sha256_of(self.path / name) for name in outputs}
        manifest = {"stage": self.name, **self._description(inputs), "outputs": hashes}
        write_json(self.path / NAME, {**manifest, "result": sha256_of(self.path / RESULT)})
        self.run.write_summary()
        if self.tracking:
            self.tracking.finish(result)
