"""runs/<name>/<stage>/: where a stage writes, what it was made from, and whether it is still up to date.

A finished stage has a manifest: the hash of every input file, of the configuration it depends on and of every output.
The manifest is written last, so that an interrupted stage has none and is simply run again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
import torchvision

from pipeline import hints
from pipeline.checkpoints import Checkpoints
from pipeline.config import Config, dump_config
from pipeline.errors import UserError
from pipeline.files import read_json, sha256_of, short_hash, write_atomically, write_json
from pipeline.runtime import Runtime, peak_memory_mb
from pipeline.trackers.tracker import Tracking, open_tracking, require_package
from pipeline.tracking import Metrics

# The target that makes each stage, for messages, and the sections of the configuration each depends on.
TARGETS = {"reference": "reference", "collect": "collect", "reward": "train-reward", "ppo": "ppo"}
SECTIONS = {
    "reference": ("images", "model", "reference"),
    "collect": ("images", "collect"),
    "reward": ("images", "model", "reward"),
    "ppo": ("images", "model", "ppo"),
}

_WARNED: set[tuple[Path, str]] = set()


@dataclass(frozen=True)
class RunFolder:
    """All stages of one run."""

    config: Config

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

    def stage(self, name: str) -> StageFolder:
        return StageFolder(self, name)

    def require(self, stage: str, file: str) -> Path:
        """A file that an earlier stage makes.

        Raises:
            UserError: it is missing; the message names it and the target that makes it.
        """
        path = self.path / stage / file
        if not path.is_file() or not (self.path / stage / "manifest.json").is_file():
            raise UserError(f"{path} is missing: run `{hints.make(TARGETS[stage])}` first (run '{self.config.name}')")
        self._warn_if_stale(stage)
        return path

    def _warn_if_stale(self, stage: str) -> None:
        """Say, once a process, that an earlier stage was made with settings other than those in force."""
        folder = self.stage(stage)
        if (folder.path, folder.settings) not in _WARNED and read_json(folder.path / "manifest.json")[
            "settings"
        ] != folder.settings:
            _WARNED.add((folder.path, folder.settings))
            click.echo(
                f"warning: {folder.path} was made with other settings (see its config.yaml); "
                f"`{hints.make(TARGETS[stage])}` makes it anew with the present ones",
                err=True,
            )

    def write_summary(self) -> dict[str, Any]:
        """summary.json: the results of every finished stage, assembled anew from their own result.json files."""
        summary: dict[str, Any] = {
            "name": self.config.name,
            "seed": self.config.seed,
            "folder": str(self.path),
            "seconds": {},
            "peak_rss_mb": 0.0,
        }
        for stage in ("reference", "collect", "reward", "ppo", "infer"):
            path = self.path / stage / "result.json"
            if path.is_file():
                result = read_json(path)
                summary["seconds"][stage] = result.pop("seconds")
                summary["peak_rss_mb"] = max(summary["peak_rss_mb"], result.pop("peak_rss_mb"))
                summary.update(result)
        write_json(self.path / "summary.json", summary)
        return summary


@dataclass
class StageFolder:
    """One stage's folder: opened when the stage starts, closed by `finish`."""

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
        config = self.run.config.model_dump(mode="json")
        relevant = {name: config[name] for name in ("seed", *SECTIONS[self.name])}
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()

    def _described(self, inputs: dict[str, str]) -> dict[str, Any]:
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__}
        return {"inputs": inputs, "settings": self.settings, "versions": versions}

    def is_current(self, inputs: dict[str, str]) -> bool:
        """Whether the stage finished with exactly these inputs and settings, and its outputs still stand untouched."""
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            return False
        made = read_json(manifest)
        if any(made[key] != value for key, value in self._described(inputs).items()):
            return False
        return all(
            (self.path / name).is_file() and sha256_of(self.path / name) == digest
            for name, digest in made["outputs"].items()
        )  # fmt: skip

    def checkpoints(self, inputs: dict[str, str], what: str, runtime: Runtime, force: bool = False) -> Checkpoints:
        """Where this stage's loop saves its state, as long as inputs and settings are these; `force` does a finished
        stage anew.

        Args:
            what: `iteration` or the like, for messages.
        """
        seconds = self.run.config.runtime.checkpoint_seconds
        made = Checkpoints(self.path / "checkpoints", self._key(inputs), seconds, what, runtime.is_main)
        if force and (self.path / "manifest.json").is_file():  # one that was forced and stopped goes on
            made.clear()
        runtime.wait()
        return made

    def _key(self, inputs: dict[str, str]) -> str:
        return short_hash(json.dumps(self._described(inputs), sort_keys=True))

    def metrics(self, inputs: dict[str, str], runtime: Runtime) -> Metrics:
        """metrics.csv, TensorBoard's events and the tracker's run; the run of an interrupted stage goes on with it."""
        if not runtime.is_main:
            return Metrics(None)
        self.tracking = open_tracking(self.run.config, self.name, self.path, self._key(inputs))
        return Metrics(self.path / "metrics.csv", self.tracking)

    def begin(self) -> None:
        """Declare the stage unfinished: what stands in its folder no longer counts.

        Raises:
            UserError: the tracker that the configuration asks for is not installed.
        """
        require_package(self.run.config)
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "manifest.json").unlink(missing_ok=True)
        write_atomically(self.path / "config.yaml", dump_config(self.run.config).encode())

    def finish(self, inputs: dict[str, str], outputs: Iterable[str], result: dict[str, Any]) -> None:
        """Write result.json, the manifest and the run's summary; then tell the tracker."""
        seconds = round(time.perf_counter() - self.started, 2)
        result = {**result, "seconds": seconds, "peak_rss_mb": round(peak_memory_mb(), 1)}
        write_json(self.path / "result.json", result)
        made = {name: sha256_of(self.path / name) for name in outputs}
        write_json(self.path / "manifest.json", {"stage": self.name, **self._described(inputs), "outputs": made})
        self.run.write_summary()
        if self.tracking:
            self.tracking.finish(result)
