"""Live collection under load: a person answers in a real Chromium while the training process works, and either is killed.

First the latencies while it trains: from a key press to the next question on the screen, and to the acknowledgement that
the answer is on disk. Then the training process and the server are killed with SIGKILL, `--kills` times each, while
answering goes on. Afterwards every answer must be stored exactly once, no question may have been asked twice, no process
may be left over, and all rounds must come out bit for bit the same when they are trained again; otherwise the exit code
is 1. Latencies depend on the machine and its load; those above 50 ms (95th percentile) fail unless `--no-limit` is given.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil
import yaml

from benchmarks.live_browser import Annotator, opened
from benchmarks.machine import machine
from feedback_store.store_registry import open_store
from pipeline.config import load_config
from pipeline.run.workspace import open_workspace

LIMIT_MS = 50.0
BLOCK = 25  # answers in a row while it trains, then as many while it is suspended: other load affects both alike
CONFIG: dict[str, Any] = {
    "name": "live",
    "images": {"source": "digits", "size": 16},
    "model": {"backbone": "resnet18", "weights": "none", "trainable": "head"},
    "reference": {"labelled_per_class": 1, "epochs": 20, "batch_size": 25, "calibration_folds": 0},
    "collect": {
        "question": "label",
        "strategy": "margin",
        "count": 1400,
        "repeat_fraction": 0,
        "lease_minutes": 60,
        "annotators": ["ann"],
        "server": {"port": 0, "open_browser": False},
    },
    # Short trainings: many rounds in few minutes, and more of them than kills.
    "reward": {"objective": "supervised", "curve": [], "optimiser": "adamw", "scale": "unit", "epochs": 30, "lr": 0.01},
    "ppo": {"iterations": 8, "beta": 0.3},
    "live": {"first_answers": 4, "answers_per_round": 1, "growth": 0},
}


class Server:
    """The real command in a process of its own, and the training process that it started."""

    def __init__(self, config: Path) -> None:
        self.config, self.port, self.link = config, 0, ""
        self.rounds = config.parent / "runs" / "live" / "rounds"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "stages.cli", "collect", "--config", str(self.config), "--live"]
        command += ["--set", f"collect.server.port={self.port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        for line in self.process.stdout:
            if found := re.match(r"\s+ann\s+(http://\S+:(\d+)/enter/\S+)", line):
                self.link, self.port = found[1], int(found[2])
            if line.startswith("Every answer"):
                return
        raise SystemExit(f"the server did not start: {self.process.wait()}")

    def finished(self) -> int:
        """Number of finished rounds."""
        return sum(path.name.isdigit() for path in self.rounds.glob("*"))

    def training(self) -> psutil.Process | None:
        """The training process; None while it is being started again."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                if "live-training" in child.cmdline():
                    return child
        return None

    def stop(self, number: int) -> None:
        self.process.send_signal(number)
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


def seconds_until_gone(process: psutil.Process | None, limit: float = 30.0) -> float:
    """How long a process goes on after its server was killed; `limit` if it does not end."""
    began = time.monotonic()
    while process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() - began > limit:
            return limit
        time.sleep(0.02)
    return time.monotonic() - began


def measure(annotator: Annotator, server: Server, presses: int, think: float) -> tuple[list[str], list[str]]:
    """Answer while the process trains, and as often while it is suspended; returns lines to print, and problems."""
    first = server.rounds / "0" / "queue.json"
    while not first.is_file() or (training := server.training()) is None:  # from then on it trains all the time
        annotator.answer(1, think)
    times: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}  # by whether it trains
    busy = seconds = 0.0
    for block in range(-(-2 * presses // BLOCK)):
        trains = block % 2 == 0
        (training.resume if trains else training.suspend)()
        annotator.forget_times()
        before, since = sum(training.cpu_times()[:2]), time.monotonic()
        annotator.answer(BLOCK, think)
        if trains:
            busy += sum(training.cpu_times()[:2]) - before
            seconds += time.monotonic() - since
        for name, values in annotator.times().items():
            times[trains].setdefault(name, []).extend(values)
    training.resume()
    lines = [f"the training process used {busy / seconds:.0%} of a core while it was measured"]
    problems = []
    for name in times[True]:
        for trains, when in ((True, "while it trains"), (False, "while it is suspended")):
            values = times[trains][name]
            median, p95, most = np.quantile(values, [0.5, 0.95, 1.0])
            lines.append(
                f"{name}, {when}: median {median:.1f} ms, 95th percentile {p95:.1f} ms, maximum {most:.0f} ms "
                f"({len(values)} times)"
            )
            if trains and p95 > LIMIT_MS:
                problems.append(f"{name}: the 95th percentile is {p95:.1f} ms, more than {LIMIT_MS:g}")
    return lines, problems


def kill_both(annotator: Annotator, server: Server, kills: int, think: float) -> tuple[list[str], list[str]]:
    """Kill the training process and the server in turn while answering goes on."""
    lingering: list[float] = []
    problems, random = [], np.random.default_rng(0)
    for _ in range(kills):
        give_up = time.monotonic() + 60
        while (training := server.training()) is None and time.monotonic() < give_up:
            annotator.answer(1, think)
        if training is None:
            problems.append("the training process was not started again within a minute")
            break
        # At any moment of its work: a while after a round was finished, and a while after it was started.
        rounds, give_up = server.finished(), time.monotonic() + 120
        while server.finished() == rounds and time.monotonic() < give_up:
            annotator.answer(1, think)
        later = time.time() + random.uniform(0, 8)
        while time.time() < later:
            annotator.answer(1, think)
        with suppress(psutil.NoSuchProcess):
            training.kill()
        annotator.answer(4, think)
        training, age = server.training(), random.uniform(1, 15)
        while training is not None and time.time() - training.create_time() < age:
            annotator.answer(1, think)
        server.stop(signal.SIGKILL)
        annotator.answer(2, think)  # they wait in the browser
        lingering.append(seconds_until_gone(training))
        server.start()
    annotator.answer(4, think)
    if any(seconds >= 30 for seconds in lingering):
        problems.append("a training process went on after its server was killed")
    longest = max(lingering, default=0.0)
    return [
        f"{len(lingering)} SIGKILLs of the training process and as many of the server; without its server it ended within {longest:.1f} s"
    ], problems


def stored_problems(folder: Path, sent: set[str]) -> tuple[list[str], list[str]]:
    """Whether what was sent is stored exactly once, and nothing was asked twice."""
    rows = open_store(folder / "runs" / "live" / "feedback").all_rows("per_image")
    ids, images = Counter(rows["id"]), Counter(rows["image"])
    problems = []
    if lost := [one for one in sent if ids[one] != 1]:
        problems.append(f"{len(lost)} answers are not stored exactly once")
    if extra := set(ids) - sent:
        problems.append(f"{len(extra)} stored answers were never given")
    if twice := sum(count > 1 for count in images.values()):
        problems.append(f"{twice} images were asked about twice")
    return [f"{len(sent)} answers given, {len(rows)} stored, about {len(images)} images"], problems


def replayed(config: Path) -> tuple[list[str], list[str]]:
    """Train all rounds again and compare."""
    command = [sys.executable, "-m", "stages.cli", "rounds", "--config", str(config), "--replay"]
    done = subprocess.run(command, capture_output=True, text=True)
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
    return [f"replay: {last}"], [] if done.returncode == 0 else [f"replay: {done.stderr.strip()}"]


@click.command()
@click.option("--presses", default=150, show_default=True, help="answers while latencies are measured")
@click.option("--kills", default=10, show_default=True, help="of the training process, and of the server")
@click.option("--think", default=0.25, show_default=True, help="seconds between a person's answers")
@click.option("--limit/--no-limit", default=True, help="whether latencies above 50 ms fail")
@click.option("--screenshots", type=click.Path(path_type=Path), help="folder for pictures of the pages")
def main(presses: int, kills: int, think: float, limit: bool, screenshots: Path | None) -> None:
    """Latency while training, and SIGKILLs, with a real browser."""
    click.echo(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "live.yaml"
        path.write_text(yaml.safe_dump(CONFIG | {"runs": str(folder / "runs")}))
        reference = [sys.executable, "-m", "stages.cli", "reference", "--config", str(path)]
        subprocess.run(reference, check=True, stdout=subprocess.DEVNULL)
        ws = open_workspace(load_config(path))
        classes = [int(ws.table.source.label(key) or 0) for key in ws.table.paths]
        server = Server(path)
        problems = []
        try:
            with opened(server.link, classes) as annotator:
                lines, slow = measure(annotator, server, presses, think)
                click.echo("\n".join(lines))
                problems += slow if limit else []
                if screenshots:
                    annotator.take_screenshots(screenshots)
                lines, found = kill_both(annotator, server, kills, 3 * think)
                click.echo("\n".join(lines))
                problems += found
                sent = annotator.finish()
        finally:
            last = server.training()
            server.stop(signal.SIGINT)
        if seconds_until_gone(last) >= 30:
            problems.append("the training process went on after the server ended")
        click.echo(f"{server.finished()} rounds trained")
        for lines, found in (stored_problems(folder, sent), replayed(path)):
            click.echo("\n".join(lines))
            problems += found
    for problem in problems:
        click.echo(f"FAILED: {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
