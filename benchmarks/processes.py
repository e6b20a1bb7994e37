"""Several processes against one: the same metrics, divided work, and speed (docs/scaling.md, "Several processes").

Each configuration runs from an empty folder with 1, 2 and 4 processes of one thread under torchrun, and with one process
of two threads. Compared are all figures of summary.json, all columns of every metrics.csv, the images that went through
each network, and the time of the whole command. Then one rank of two is killed with SIGKILL while PPO trains, and four
processes resume. The exit code is 1 if metrics differ by more than 1e-4, or images by more than 5 %; `--speed` also
requires the time of two processes of one thread to be at most that of two threads / 0.85, which needs an idle machine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd
import psutil

from benchmarks.counted_run import VARIABLE
from benchmarks.machine import machine
from pipeline.run.atomic_files import read_json

MAX_DIFFERENCE, MAX_MORE_IMAGES, MIN_SPEED = 1e-4, 0.05, 0.85
DIFFERENT = ("seconds", "peak_rss_mb")  # figures that differ between any two runs
CASES = {"digits": "configs/digits.yaml", "ants_bees": "configs/ants_bees.yaml"}
# At the configured rates, training from random weights amplifies rounding (docs/scaling.md): with other threads, too.
SMALL_RATES = {"digits": "reward.lr=1e-5 ppo.lr=2e-6"}


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, the time of the command, and the images through each network, all processes together."""

    folder: Path
    seconds: float
    images: list[int]


def command(config: str, runs: Path, changes: str, processes: int, threads: int) -> list[str]:
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m"]
    settings = f"runs={runs} name=run runtime.threads={threads} runtime.precision=fp32 {changes}"
    return [*launcher, "benchmarks.counted_run", "run", "--config", config, "--set", settings]


def start(config: str, runs: Path, changes: str, processes: int, threads: int) -> subprocess.Popen[str]:
    runs.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {VARIABLE: str(runs), "OMP_NUM_THREADS": str(threads)}
    with (runs / "log.txt").open("a") as log:
        return subprocess.Popen(
            command(config, runs, changes, processes, threads),
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )


def finish(config: str, runs: Path, changes: str, processes: int, threads: int = 1) -> Run:
    """Run to the end.

    Raises:
        SystemExit: the command failed.
    """
    began = time.perf_counter()
    if code := start(config, runs, changes, processes, threads).wait():
        raise SystemExit(f"exit code {code}; the end of {runs / 'log.txt'}:\n{(runs / 'log.txt').read_text()[-3000:]}")
    seconds = time.perf_counter() - began
    each = [json.loads((runs / f"{rank}.json").read_text()) for rank in range(processes)]
    assert len({len(images) for images in each}) == 1, "every process uses the same networks"
    return Run(runs / "run", seconds, [sum(of) for of in zip(*each, strict=True)])


def figures(folder: Path) -> dict[str, float]:
    """Every number of summary.json, and of the rows of every metrics.csv, by its place."""
    found = dict(_numbers(read_json(folder / "summary.json"), "summary"))
    for path in sorted(folder.glob("**/metrics.csv")):
        if not path.stat().st_size:  # of a reference that is not trained
            continue
        frame = pd.read_csv(path).select_dtypes("number")
        for row, values in enumerate(frame.to_dict("records")):
            place = f"{path.relative_to(folder)} row {row + 1}"
            found |= {f"{place} {name}": value for name, value in values.items() if value == value}
    return found


def _numbers(tree: Any, place: str) -> list[tuple[str, float]]:
    if isinstance(tree, dict):
        return [pair for name, of in tree.items() if name not in DIFFERENT for pair in _numbers(of, f"{place}.{name}")]
    if isinstance(tree, list):
        return [pair for number, of in enumerate(tree) for pair in _numbers(of, f"{place}[{number}]")]
    return [(place, float(tree))] if isinstance(tree, int | float) else []


def difference(one: Run, other: Run) -> tuple[float, str, str]:
    """The largest difference of a final figure; that and the largest of a row of metrics.csv as text, with its place."""
    expected, found = figures(one.folder), figures(other.folder)
    if expected.keys() != found.keys():
        text = f"only in one: {sorted(expected.keys() ^ found.keys())[:3]}"
        return float("inf"), text, text
    each = sorted(((abs(found[name] - value), name) for name, value in expected.items()), reverse=True)
    final = next(one for one in each if one[1].startswith("summary"))
    row = next(one for one in each if not one[1].startswith("summary"))
    return final[0], f"{final[0]:.1e} ({final[1]})", f"{row[0]:.1e} ({row[1]})"


def more_images(one: Run, other: Run) -> float:
    """How many more images, or fewer, went through the network where this is worst, as a share.

    Every process checks with one image whether a network takes this size; networks without other images are left out.
    """
    if len(one.images) != len(other.images):
        return float("inf")
    return max(abs(many / few - 1) for few, many in zip(one.images, other.images, strict=True) if few > 1)


def killed_and_resumed(config: str, runs: Path, changes: str, stage: str) -> Run:
    """Two processes, of which the second is killed with SIGKILL while a stage trains; four resume."""
    changes += " runtime.checkpoint_seconds=0"
    launcher = start(config, runs, changes, 2, 1)
    while not list((runs / "run" / stage).glob("checkpoints/**/*.pt")):
        if launcher.poll() is not None:
            raise SystemExit(f"no checkpoint of {stage} before the end; raise ppo.iterations")
        time.sleep(0.01)
    ranks = [one for one in psutil.Process(launcher.pid).children() if "benchmarks.counted_run" in one.cmdline()]
    second = next(one for one in ranks if one.environ().get("RANK") == "1")
    second.send_signal(signal.SIGKILL)
    began = time.monotonic()
    code = launcher.wait()
    click.echo(
        f"    killed while {stage} trained: the launcher ended after {time.monotonic() - began:.1f} s with {code}"
    )
    return finish(config, runs, changes, 4)


@click.command()
@click.option("--only", type=click.Choice(list(CASES)), multiple=True, help="A configuration; default: all.")
@click.option("--changes", default="", help="Settings for all runs, as of --set: e.g. fewer epochs.")
@click.option("--images", default="", help="images.root of ants_bees; default: as configured.")
@click.option("--weights", default="", help="model.weights of ants_bees; default: as configured.")
@click.option("--speed/--no-speed", default=False, help="Fail if two processes are slower than the limit.")
@click.option("--kill/--no-kill", default=True, help="Kill a rank, and resume with another number of processes.")
@click.option("--as-configured", is_flag=True, help="Whole networks at the configured learning rates.")
def main(
    only: tuple[str, ...], changes: str, images: str, weights: str, speed: bool, kill: bool, as_configured: bool
) -> None:
    click.echo(machine())
    failed = False
    for name in only or CASES:
        settings = f"{'' if as_configured else SMALL_RATES.get(name, '')} {changes}"
        if name == "ants_bees":
            settings += (f" images.root={images}" if images else "") + (f" model.weights={weights}" if weights else "")
        with tempfile.TemporaryDirectory() as folder:
            failed |= compare(name, Path(folder), settings, speed=speed, kill=kill)
    sys.exit(failed)


def compare(name: str, folder: Path, changes: str, *, speed: bool, kill: bool) -> bool:
    """Print the table of one configuration; returns whether a limit was exceeded."""
    config, failed = CASES[name], False
    one = finish(config, folder / "1", changes, 1)
    threads = finish(config, folder / "threads", changes, 1, threads=2)
    click.echo(
        f"{name}: {sum(one.images)} images through {len(one.images)} networks; {changes.strip() or 'as configured'}"
    )
    click.echo(f"    1 process, 1 thread: {one.seconds:.1f} s; 1 process, 2 threads: {threads.seconds:.1f} s")
    click.echo(f"    1 process, 2 threads: largest difference of a final metric {difference(one, threads)[1]}")
    several = [(f"{count} processes", finish(config, folder / str(count), changes, count)) for count in (2, 4)]
    if kill:
        several.append(("2, killed, then 4", killed_and_resumed(config, folder / "killed", changes, "ppo")))
    for label, run in several:
        largest, final, row = difference(one, run)
        text = f"    {label}: largest difference of a final metric {final}, of a row {row}; "
        failed |= not largest <= MAX_DIFFERENCE
        if "killed" not in label:  # what was computed before it was killed is counted twice
            images = more_images(one, run)
            failed |= not images <= MAX_MORE_IMAGES
            text += f"images {images:+.1%}; {run.seconds:.1f} s"
        if label == "2 processes":
            ratio = threads.seconds / run.seconds
            failed |= speed and ratio < MIN_SPEED
            text += f", {ratio:.2f} times as fast as 2 threads"
        click.echo(text)
    return failed


if __name__ == "__main__":
    main()
