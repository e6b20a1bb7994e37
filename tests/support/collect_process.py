"""The real `collect` in a process of its own, for tests of what it prints and survives."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from pathlib import Path

import yaml

from support.command_process import PIPE, run_command, start_command

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "name": "asked",
    "images": {"source": "digits", "size": 16},
    "model": {"backbone": "shufflenet_v2_x0_5", "weights": "none", "trainable": "head"},
    "reference": {"labelled_per_class": 0},
    "collect": {"count": 40, "annotators": ["ann"], "server": {"port": 0, "open_browser": False}},
    "runtime": {"device": "cpu", "threads": 1},
}


def make_run(folder: Path) -> None:
    """A run that is ready to collect: digits, and a reference that knows nothing."""
    (folder / "asked.yaml").write_text(yaml.safe_dump(CONFIG))
    made = run_command(["-m", "stages.cli", "reference", "--config", "asked.yaml"], cwd=folder, env=environment())
    assert made.returncode == 0, made.stderr


def environment(**more: str) -> dict[str, str]:
    """This process's, without a screen."""
    kept = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **more}


class CollectProcess:
    """`collect` on the run in `folder`, started and its links read.

    Attributes:
        links: the address printed for each name; the owner's is `(owner)`.
        code: the exit code, if it ended before it served.
    """

    def __init__(self, folder: Path, *overrides: str, open_files: int | None = None, **variables: str) -> None:
        command = ["-m", "stages.cli", "collect", "--config", "asked.yaml"]
        command += ["--set", " ".join(overrides)] if overrides else []
        self._errors = Path(tempfile.mkdtemp(dir=folder)) / "errors"
        with self._errors.open("w") as errors:
            self.process = start_command(
                command, cwd=folder, env=environment(**variables), stdout=PIPE, stderr=errors, open_files=open_files
            )
        self.links: dict[str, str] = {}
        self.code: int | None = None
        self._said: str | None = None
        assert self.process.stdout
        for line in self.process.stdout:
            if found := re.match(r"\s+(\S+)\s+(http\S+/enter/\S+)", line):
                self.links[found[1]] = found[2]
            if line.startswith("Every answer"):
                return
        self.code = self.process.wait()

    @property
    def address(self) -> str:
        return self.links["(owner)"].partition("/enter/")[0]

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End it and return what it printed to the error stream."""
        if self._said is None:
            if self.process.poll() is None:
                self.process.send_signal(number)
            assert self.process.stdout
            with self.process.stdout as rest:
                rest.read()
            self.process.wait()
            self._said = self._errors.read_text()
        return self._said


def start_over(folder: Path) -> None:
    """Forget what was collected."""
    for name in ("collect", "feedback"):
        shutil.rmtree(folder / "runs" / "asked" / name, ignore_errors=True)
