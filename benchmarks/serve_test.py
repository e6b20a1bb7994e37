"""`make serve-test`: 64 clients at once, then whatever should take the server down.

Starts the real command on a run of its own (ResNet18 at 224 pixels with random weights, which are as fast as any) or on
the one that --config names, and lets 64 clients send one image a request for a minute. `infer` on the same images is
measured before and after, in a process of its own.
Then come a decompression bomb, a body of 1 GB with and without its length announced, a text file named .jpg, the
largest images that are allowed, and 1,000 connections that send slowly, while other clients go on. Exits with 1 if
anything but 200 and 503 is answered to good images, if throughput is below 0.8 of infer's, or if the server dies or
uses more memory than it said. Peak memory is what Linux counts, and is left out elsewhere.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

import click
import numpy as np
import yaml
from PIL import Image

from benchmarks.hostile import bomb, largest, wide_webp
from benchmarks.machine import machine
from benchmarks.traffic import SLOW, Outcome, load, once, others, post, stream, trickle
from benchmarks.untrained import make_untrained
from pipeline.config import Config, load_config

ROOT = Path(__file__).parents[1]
CLASSES = tuple("abcdefghij")
STATED = re.compile(r"memory stays below (\d+) MiB")
LEAST_RATIO = 0.8


def small_run(folder: Path) -> Path:
    """A configuration whose run has a policy and a reference."""
    path = folder / "load.yaml"
    tree = {"name": "load", "runs": str(folder / "runs"), "images": {"root": str(folder)}, "model": {"weights": "none"}}
    path.write_text(yaml.safe_dump(tree))
    make_untrained(load_config(path), CLASSES, resize=256)
    return path


def photographs(count: int) -> list[bytes]:
    """JPEG files of 500 x 375 pixels with the detail of a photograph: noise at several scales."""
    random, made = np.random.default_rng(0), []
    for _ in range(count):
        image = np.zeros((375, 500, 3))
        for cells in (4, 16, 64, 256):
            noise = random.normal(0, 60 / cells**0.5, (cells, cells, 3)).clip(-127, 127) + 128
            layer = Image.fromarray(noise.astype(np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
            image += np.asarray(layer).astype(float) - 128
        file = io.BytesIO()
        Image.fromarray((image + 128).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return made


def infer_pace(config: Config, images: list[bytes], count: int) -> float:
    """Images a second of `infer` on `count` files of these images, loading the model included."""
    from stages.infer.run import run

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number in range(count):
            (folder / f"{number:05d}.jpg").write_bytes(images[number % len(images)])
        started = time.perf_counter()
        run(config, str(folder), folder / "predictions.csv")
        return count / (time.perf_counter() - started)


def infer_in_a_process(config: Path, count: int) -> float:
    """`infer_pace` in a process of its own, so that no state of this one helps or hinders it."""
    command = [sys.executable, "-m", "benchmarks.serve_test", "--config", str(config), "--only-infer", str(count)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1])


class Server:
    """The real command in a process of its own."""

    def __init__(self, config: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stages.cli", "serve", "--config", str(config), "--set", "serve.port=0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
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

    def peak_mib(self) -> float:
        """Most resident memory so far; 0 where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/status")
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
        return int(found[1]) / 1024 if found else 0.0

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stdout
        self.process.stdout.close()
        return self.process.wait()


async def attack(server: Server, images: list[bytes], slow: int, seconds: float) -> list[str]:
    """Everything at once that should not matter; what did, in words."""
    problems: list[str] = []
    port = server.port

    async def step(name: str, work: Awaitable[str]) -> None:
        async with others(port, images) as outcome:
            said = await work
        if set(outcome.statuses) - {"200", "503"} or not outcome.statuses["200"]:
            problems.append(f"{name}: others got {outcome}")
        longest = max(outcome.seconds, default=float("nan"))
        click.echo(
            f"  {name}: {said}; others meanwhile {outcome}, longest {longest:.1f} s; peak {server.peak_mib():.0f} MiB"
        )

    async def many(raw: bytes, count: int) -> str:
        return str(dict(Counter(await asyncio.gather(*(once(port, raw) for _ in range(count))))))

    async def gigabyte(announced: bool) -> str:
        status, sent = await stream(port, 2**30, announced)
        if sent > 2**28:
            problems.append(f"{sent >> 20} MiB of a body that is too large were taken")
        return f"{status} after {sent / 2**20:.0f} MiB"

    async def slowly() -> str:
        over = asyncio.Event()
        tasks = [asyncio.create_task(trickle(port, SLOW[number % len(SLOW)], over)) for number in range(slow)]
        await asyncio.sleep(seconds)
        over.set()
        ended = sum(await asyncio.gather(*tasks))
        return f"held for {seconds:g} s, {ended} of {slow} ended by the server"

    await step("decompression bomb, 20 times", many(post(bomb()), 20))
    await step("WebP of 268 megapixels, 20 times", many(post(wide_webp()), 20))
    await step("text named .jpg, 20 times", many(post(b"no picture at all"), 20))
    await step("1 GB, its length announced", gigabyte(True))
    await step("1 GB, its length not announced", gigabyte(False))
    await step("largest images allowed, 16 at once", many(post(largest()), 16))
    await step(f"{slow} slow connections", slowly())
    return problems


def verdict(outcome: Outcome, served: float, infer: float) -> list[str]:
    p50, p95, p99, most = np.quantile(np.array(outcome.seconds) * 1000, [0.5, 0.95, 0.99, 1])
    click.echo(f"  answers {outcome}")
    click.echo(f"  {served:.1f} images/s, infer {infer:.1f}: {served / infer:.2f} of it")
    click.echo(f"  median {p50:.0f} ms, 95th percentile {p95:.0f} ms, 99th {p99:.0f} ms, longest {most:.0f} ms")
    problems = []
    if wrong := set(outcome.statuses) - {"200", "503"}:
        problems.append(f"answers other than 200 and 503: {sorted(wrong)}")
    if served < LEAST_RATIO * infer:
        problems.append(f"throughput is below {LEAST_RATIO} of infer's")
    return problems


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path, exists=True), help="a finished run [default: made]")
@click.option("--clients", default=64, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--slow", default=1000, show_default=True, help="connections that send slowly")
@click.option("--slow-seconds", default=30.0, show_default=True)
@click.option("--only-infer", type=int, hidden=True)
def main(
    path: Path | None, clients: int, seconds: float, slow: int, slow_seconds: float, only_infer: int | None
) -> None:
    """Load test of `make serve`."""
    images = photographs(64)
    if only_infer is not None:
        assert path
        print(infer_pace(load_config(path), images, only_infer))
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = path or small_run(Path(temporary))
        click.echo(machine())
        files = round(seconds * 10)
        before = infer_in_a_process(path, files)
        server = Server(path)
        try:
            click.echo(f"{clients} clients for {seconds:g} s, one image a request")
            outcome, served = asyncio.run(load(server.port, images, clients, seconds))
            warm = server.peak_mib()
            click.echo("Whatever should take it down")
            problems = asyncio.run(attack(server, images, slow, slow_seconds))
            peak = server.peak_mib()
        finally:
            code = server.stop()
        infer = (before + infer_in_a_process(path, files)) / 2
    problems = verdict(outcome, served, infer) + problems
    click.echo(f"  memory: {warm:.0f} MiB under load, {peak:.0f} MiB at most, {server.stated_mib} MiB stated")
    if peak > server.stated_mib:
        problems.append("it used more memory than it said")
    if code:
        problems.append(f"it ended with code {code}")
    for problem in problems:
        click.echo(f"FAILED: {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
