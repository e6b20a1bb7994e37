"""Run the real `serve` command in a separate process, by default on an untrained run."""

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
GRACE = re.compile(r"stops within (\S+) s")


def small_run(folder: Path) -> Path:
    """The configuration of a new run with an untrained policy and reference."""
    path = folder / "load.yaml"
    tree = {"name": "load", "runs": str(folder / "runs"), "images": {"root": str(folder)}, "model": {"weights": "none"}}
    path.write_text(yaml.safe_dump(tree))
    make_untrained(load_config(path), CLASSES, resize=256)
    return path


class Server:
    """The real command in a separate process."""

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
        output = "".join(lines)
        if self.process.poll() is not None or not (port := re.search(r"http://\S+:(\d+)/", output)):
            raise SystemExit(f"the server did not start: {output}")
        self.port = int(port[1])
        stated = STATED.search(output)
        assert stated, output
        self.stated_mib = int(stated[1])
        grace = GRACE.search(output)
        assert grace, output
        self.grace = float(grace[1])

    def peak_mib(self) -> float:
        """Sum of the peak resident memory of all processes in MiB; 0 on systems without /proc."""
        try:
            processes = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children()]
            return sum(_peak_mib(process.pid) for process in processes)
        except psutil.NoSuchProcess:  # a decoding process was just replaced
            return self.peak_mib()

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; returns the exit code and the seconds until the process ended."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout
        self.process.stdout.close()
        return self.process.wait(), time.monotonic() - started


def _peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status")
    match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(match[1]) / 1024 if match else 0.0
