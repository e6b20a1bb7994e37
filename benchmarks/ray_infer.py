"""`infer` by the engines local and ray: the same file, the speed per core, and a worker killed midway.

Run `python -m benchmarks.ray_infer`; needs the extra `ray`. Every engine computes with one thread per worker. Speeds are
relative to the bare forward pass on decoded tensors, before and after, of as many processes at once as there are workers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import click
import numpy as np
import psutil
import torch
from PIL import Image

from benchmarks.machine import machine
from benchmarks.untrained import make_untrained
from pipeline.config import Config, parse_config
from pipeline.data.transforms import normalise
from pipeline.models.predictor import Predictor

CLASSES = ("ant", "bee", "wasp")
BAD_EVERY = 1999  # one file in so many is no image
BARE_SECONDS = 8.0


def make_run(folder: Path, backbone: str, size: int) -> Config:
    """A run with an untrained policy, which is as fast as a trained one; one thread, fp32."""
    tree = {
        "name": "ray",
        "runs": str(folder / "runs"),
        "images": {"root": str(folder), "size": size},
        "model": {"backbone": backbone, "weights": "none"},
        "runtime": {"threads": 1, "precision": "fp32", "device": "cpu"},
    }
    config = parse_config(tree, "benchmark")
    make_untrained(config, CLASSES, reference=False)
    return config


def make_images(folder: Path, count: int, size: int) -> Path:
    """`count` different JPEG files of `size` pixels, a few of them unusable."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:07d}.jpg"
        if number % BAD_EVERY == 5:
            path.write_bytes(b"no image")
            continue
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((size, size))
        coarse.save(path, quality=90)
    return folder


def bare(folder: str, backbone: str, size: int) -> float:
    """Images per second of the network alone, one thread, for `BARE_SECONDS` after a first pass."""
    config = make_run(Path(folder), backbone, size)
    predictor = Predictor.load(config.runs / config.name, config.runtime)
    batch = config.infer.batch_size
    shape = (batch, predictor.header.size, predictor.header.size, 3)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    tensor, done = normalise(pixels), 0
    with torch.no_grad():
        predictor.network(tensor)
        begin = time.perf_counter()
        while time.perf_counter() - begin < BARE_SECONDS:
            predictor.network(tensor)
            done += batch
    return done / (time.perf_counter() - begin)


def bare_per_core(processes: int, backbone: str, size: int) -> float:
    """Mean of the rates of so many processes that compute at the same time."""
    with tempfile.TemporaryDirectory() as place:
        codes = [
            f"from benchmarks.ray_infer import bare; print(bare({f'{place}/{number}'!r}, {backbone!r}, {size}))"
            for number in range(processes)
        ]
        started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for code in codes]
        return float(np.mean([float(process.communicate()[0].split()[-1]) for process in started]))


class Progress:
    """When the journal of an output got its first batch, and a worker killed when it has `kill_at` lines."""

    def __init__(self, output: Path, kill_at: int | None) -> None:
        self.journal, self.kill_at = output.with_name(f".{output.name}.partial"), kill_at
        self.began, self.done_before, self.killed = 0.0, 0, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            try:
                with self.journal.open("rb") as file:
                    lines = sum(1 for _ in file) - 1
            except FileNotFoundError:
                continue
            if lines > 0 and not self.began:
                self.began, self.done_before = time.perf_counter(), lines
                if self.kill_at is None:
                    return
            if self.kill_at is not None and lines >= self.kill_at:
                self.killed = kill_a_worker(os.getpid())
                return


def kill_a_worker(parent: int) -> int:
    """Send SIGKILL to one actor of the Ray that a process started; returns the actor's pid, 0 if there is none."""
    for process in psutil.Process(parent).children(recursive=True):
        if "BlockWorker" in " ".join(process.cmdline()):  # Ray names its processes
            process.send_signal(signal.SIGKILL)
            return process.pid
    return 0


def compare(images: int, backbone: str, size: int, workers: tuple[int, ...]) -> None:
    """Print the speeds; exits with an error if a file differs."""
    from stages.infer.run import run

    with tempfile.TemporaryDirectory() as place:
        config = make_run(Path(place), backbone, size)
        begin = time.perf_counter()
        folder = make_images(Path(place) / "images", images, size)
        click.echo(f"{images:,} images of {size} pixels made in {time.perf_counter() - begin:.0f} s; {backbone}")

        def predict(name: str, engine: str, count: int, kill_at: int | None = None) -> bytes:
            tree = config.model_dump(mode="json")
            tree["infer"]["engine"], tree["runtime"]["ray_workers"] = engine, count
            output = Path(place) / f"{name}.csv"
            before = bare_per_core(count, backbone, size)
            with Progress(output, kill_at) as progress:
                begin = time.perf_counter()
                result = run(parse_config(tree, "benchmark"), str(folder), output)
                end = time.perf_counter()
            forward = (before + bare_per_core(count, backbone, size)) / 2
            rate, after_start = images / (end - begin), (images - progress.done_before) / (end - progress.began)
            killed = f"; worker {progress.killed} killed" if kill_at is not None else ""
            click.echo(
                f"{name:12} {end - begin:6.1f} s, {rate:7.1f} images per second; bare {forward:.1f} per core, {count} at "
                f"once: {rate / count / forward:.3f} in all, {after_start / count / forward:.3f} after the start{killed}"
            )
            if kill_at is not None and not progress.killed:
                raise click.ClickException("no worker was found to be killed; use more images")
            return result.path.read_bytes() + result.bad_path.read_bytes()

        expected = predict("local", "local", 1)
        jobs = [(f"ray {count}", count, None) for count in workers]
        for name, count, kill_at in [*jobs, ("ray killed", max(workers), images // 2)]:
            if predict(name, "ray", count, kill_at) != expected:
                raise click.ClickException(f"{name}: the predictions or the list of unusable files differ from local's")
        click.echo("all files are identical, byte for byte")


@click.command()
@click.option("--images", default=50_000, show_default=True)
@click.option("--size", default=64, show_default=True, help="Pixels of a side.")
@click.option("--backbone", default="resnet18", show_default=True)
@click.option("--workers", default=(1, 2), show_default=True, multiple=True, type=int)
def main(images: int, size: int, backbone: str, workers: tuple[int, ...]) -> None:
    """Compare the engines."""
    click.echo(machine())
    compare(images, backbone, size, workers)


if __name__ == "__main__":
    main()
