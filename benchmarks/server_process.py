"""The real `serve` command in a process of its own, on a run made for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

from benchmarks.untrained import make_untrained
from pipeline.config import load_config

ROOT = Path(__file__).parents[1]
CLASSES = tuple("abcdefghij")
STATED = re.compile(r"memory stays below (\d+) MiB")
GRACE = re.compile(r"ends within (\S+) s")


def small_run(folder: Path) -> Path:
    """A configuration whose run has a policy and a reference."""
    path = folder / "load.yaml"
    tree = {"name": "load", "runs": str(folder / "runs"), "images": {"root": str(folder)}, "model": {"weights": "none"}}
    path.write_text(yaml.safe_dump(tree))
    make_untrained(load_config(path), CLASSES, resize=256)
    return path


class Server:
    """The real command in a process of its own."""

    def __init__(self, config: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stages.cli", "serve", "--config", str(config), "--set", "serve.port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        said = "".join(lines)
        if self.process.poll() is not None or not (port := re.search(r"http://\S+:(\d+)/", said)):
            raise SystemExit(f"the server did not start: {said}")
        self.port = int(port[1])
        stated = STATED.search(said)
        assert stated, said
        self.stated_mib = int(stated[1])
        grace = GRACE.search(said)
        assert grace, said
        self.grace = float(grace[1])

    def peak_mib(self) -> float:
        """Most resident memory so far, each process at its own worst moment; 0 where the system does not tell."""
        try:
            processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children()]
            return sum(_peak_mib(process.pid) for process in processes)
        except psutil.NoSuchProcess:  # one that decoded was replaced just now
            return self.peak_mib()

    def stop(self) -> tuple[int, float]:
        """SIGTERM; the exit code, and how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout
        self.process.stdout.close()
        return self.process.wait(), time.monotonic() - started


def _peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) / 1024 if found else 0.0
