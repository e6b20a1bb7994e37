"""`make serve-test`: 64 clients at once, then whatever should take the server down.

Starts the real command on a run of its own (ResNet18 at 224 pixels with random weights, which are as fast as any) or on
the one that --config names, and lets 64 clients send one image a request for a minute. `infer` on the same images is
measured before and after, in a process of its own.
Then come decompression bombs of every kind, a body of 1 GB with and without its length announced, a text file named
.jpg, the largest images that are allowed, images that are slow to decode, and 1,000 connections that send slowly, while
other clients go on. Exits with 1 if anything but 200 and 503 is answered to good images, if throughput is below 0.8 of
infer's, if an image beside ten slow ones is answered more than 2 s later than alone, or if the server dies, uses more
memory than it said or does not end within its grace although slow images are under way. Peak memory is what Linux
counts, of the server and its decoding processes together, and is left out elsewhere.
"""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
from PIL import Image

from benchmarks.hostile import bomb, huge_tile, largest, many_scans, thin, wide_webp
from benchmarks.machine import machine
from benchmarks.server_process import Server, small_run
from benchmarks.traffic import SLOW, Outcome, load, once, others, post, stream, timed, trickle
from pipeline.config import Config, load_config
from pipeline.data.decode_limits import MAX_SCANS

ROOT = Path(__file__).parents[1]
LEAST_RATIO = 0.8
MOST_LATER = 2.0  # seconds that an image beside ten slow ones may be answered later than alone


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

    async def beside(count: int) -> str:
        alone = [await timed(port, post(images[0])) for _ in range(5)]
        slow_ones = [asyncio.create_task(once(port, post(many_scans(4992, MAX_SCANS)))) for _ in range(count)]
        await asyncio.sleep(0.5)
        later = await timed(port, post(images[0])) - float(np.median(alone))
        if later > MOST_LATER:
            problems.append(f"an image beside {count} slow ones was answered {later:.1f} s later than alone")
        statuses = dict(Counter(await asyncio.gather(*slow_ones)))
        return f"an image beside them came {later:.2f} s later than alone; they {statuses}"

    await step("decompression bomb, 20 times", many(post(bomb()), 20))
    await step("TIFF of one tile of 2 gigapixels, 4 at once", many(post(huge_tile()), 4))
    for height in (30_000, 60_000, 600_000, 25_000_000):
        await step(f"PNG of 1 x {height} pixels, 4 at once", many(post(thin(height)), 4))
    await step("JPEG of 2,000 scans, 10 at once", many(post(many_scans(4992, 2000)), 10))
    await step(f"JPEG of {MAX_SCANS} scans, 10 at once", beside(10))
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
            with ThreadPoolExecutor(8) as pool:
                for _ in range(8):
                    pool.submit(asyncio.run, once(server.port, post(many_scans(4992, MAX_SCANS))))
                time.sleep(1)
                code, took = server.stop()
        finally:
            server.process.kill()
        infer = (before + infer_in_a_process(path, files)) / 2
    problems = verdict(outcome, served, infer) + problems
    click.echo(f"  ended {took:.1f} s after SIGTERM with slow images under way, {server.grace:g} s stated")
    click.echo(f"  memory: {warm:.0f} MiB under load, {peak:.0f} MiB at most, {server.stated_mib} MiB stated")
    if peak > server.stated_mib:
        problems.append("it used more memory than it said")
    if took > server.grace + 1:
        problems.append("it did not end within its grace")
    if code:
        problems.append(f"it ended with code {code}")
    for problem in problems:
        click.echo(f"FAILED: {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
