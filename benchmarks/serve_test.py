"""`make serve-test`: 64 concurrent clients, then adversarial requests.

Starts the real command on the run of --config, or on a run with an untrained ResNet18 at 224 pixels. 64 clients send one
image per request for a minute; the throughput of `infer` on the same images is measured before and after, in a separate
process. Then follow decompression bombs, bodies of 1 GB with and without Content-Length, a text file named .jpg, the
largest allowed images, images that are slow to decode, and 1,000 slow connections, while other clients continue.

The exit code is 1 if valid images get another status than 200 or 503, if throughput is below 0.8 of `infer`, if an image
is delayed by more than 2 s by ten slow ones, or if the server dies, exceeds its stated memory, or does not stop within its
grace period. Peak memory of the server and its decoding processes is measured on Linux only.
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

from benchmarks.adversarial_images import bomb, huge_tile, largest, many_scans, thin, wide_webp
from benchmarks.http_clients import SLOW, Outcome, load, once, others, post, stream, timed, trickle
from benchmarks.machine import machine
from benchmarks.server_process import Server, small_run
from pipeline.config import Config, load_config
from pipeline.data.decode_limits import MAX_SCANS

ROOT = Path(__file__).parents[1]
MIN_RATIO = 0.8  # of the throughput of `infer`
MAX_DELAY = 2.0  # seconds by which ten slow images may delay another one


def photographs(count: int) -> list[bytes]:
    """JPEG files of 500 x 375 pixels with noise at several scales, like photographs."""
    random, files = np.random.default_rng(0), []
    for _ in range(count):
        image = np.zeros((375, 500, 3))
        for cells in (4, 16, 64, 256):
            noise = random.normal(0, 60 / cells**0.5, (cells, cells, 3)).clip(-127, 127) + 128
            layer = Image.fromarray(noise.astype(np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
            image += np.asarray(layer).astype(float) - 128
        file = io.BytesIO()
        Image.fromarray((image + 128).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
        files.append(file.getvalue())
    return files


def infer_throughput(config: Config, images: list[bytes], count: int) -> float:
    """Images per second of `infer` on `count` files of these images, including loading the model."""
    from stages.infer.run import run

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number in range(count):
            (folder / f"{number:05d}.jpg").write_bytes(images[number % len(images)])
        started = time.perf_counter()
        run(config, str(folder), folder / "predictions.csv")
        return count / (time.perf_counter() - started)


def infer_in_a_process(config: Path, count: int) -> float:
    """`infer_throughput` in a separate process, independent of the state of this one."""
    command = [sys.executable, "-m", "benchmarks.serve_test", "--config", str(config), "--only-infer", str(count)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return float(process.stdout.splitlines()[-1])


async def attack(server: Server, images: list[bytes], slow: int, seconds: float) -> list[str]:
    """Send adversarial requests while other clients continue; returns the problems as messages."""
    problems: list[str] = []
    port = server.port

    async def step(name: str, work: Awaitable[str]) -> None:
        async with others(port, images) as outcome:
            result = await work
        if set(outcome.statuses) - {"200", "503"} or not outcome.statuses["200"]:
            problems.append(f"{name}: other clients got {outcome}")
        longest = max(outcome.seconds, default=float("nan"))
        click.echo(
            f"  {name}: {result}; other clients meanwhile {outcome}, at most {longest:.1f} s; peak {server.peak_mib():.0f} MiB"
        )

    async def many(raw: bytes, count: int) -> str:
        return str(dict(Counter(await asyncio.gather(*(once(port, raw) for _ in range(count))))))

    async def gigabyte(announced: bool) -> str:
        status, sent = await stream(port, 2**30, announced)
        if sent > 2**28:
            problems.append(f"{sent >> 20} MiB of a body that is too large were read")
        return f"{status} after {sent / 2**20:.0f} MiB"

    async def slowly() -> str:
        over = asyncio.Event()
        tasks = [asyncio.create_task(trickle(port, SLOW[number % len(SLOW)], over)) for number in range(slow)]
        await asyncio.sleep(seconds)
        over.set()
        ended = sum(await asyncio.gather(*tasks))
        return f"held for {seconds:g} s, {ended} of {slow} closed by the server"

    async def delayed(count: int) -> str:
        alone = [await timed(port, post(images[0])) for _ in range(5)]
        slow_ones = [asyncio.create_task(once(port, post(many_scans(4992, MAX_SCANS)))) for _ in range(count)]
        await asyncio.sleep(0.5)
        delay = await timed(port, post(images[0])) - float(np.median(alone))
        if delay > MAX_DELAY:
            problems.append(f"{count} slow images delayed another one by {delay:.1f} s")
        statuses = dict(Counter(await asyncio.gather(*slow_ones)))
        return f"they delayed another image by {delay:.2f} s; their statuses {statuses}"

    await step("decompression bomb, 20 times", many(post(bomb()), 20))
    await step("TIFF of one tile of 2 gigapixels, 4 at once", many(post(huge_tile()), 4))
    for height in (30_000, 60_000, 600_000, 25_000_000):
        await step(f"PNG of 1 x {height} pixels, 4 at once", many(post(thin(height)), 4))
    await step("JPEG of 2,000 scans, 10 at once", many(post(many_scans(4992, 2000)), 10))
    await step(f"JPEG of {MAX_SCANS} scans, 10 at once", delayed(10))
    await step("WebP of 268 megapixels, 20 times", many(post(wide_webp()), 20))
    await step("text named .jpg, 20 times", many(post(b"no picture at all"), 20))
    await step("1 GB, with Content-Length", gigabyte(True))
    await step("1 GB, without Content-Length", gigabyte(False))
    await step("largest images allowed, 16 at once", many(post(largest()), 16))
    await step(f"{slow} slow connections", slowly())
    return problems


def verdict(outcome: Outcome, served: float, infer: float) -> list[str]:
    """Print throughput and latencies; returns the problems as messages."""
    p50, p95, p99, most = np.quantile(np.array(outcome.seconds) * 1000, [0.5, 0.95, 0.99, 1])
    click.echo(f"  statuses {outcome}")
    click.echo(f"  {served:.1f} images/s, infer {infer:.1f}: ratio {served / infer:.2f}")
    click.echo(f"  median {p50:.0f} ms, 95th percentile {p95:.0f} ms, 99th {p99:.0f} ms, maximum {most:.0f} ms")
    problems = []
    if wrong := set(outcome.statuses) - {"200", "503"}:
        problems.append(f"statuses other than 200 and 503: {sorted(wrong)}")
    if served < MIN_RATIO * infer:
        problems.append(f"throughput is below {MIN_RATIO} of infer's")
    return problems


@click.command()
@click.option(
    "--config", "path", type=click.Path(path_type=Path, exists=True), help="a finished run [default: an untrained one]"
)
@click.option("--clients", default=64, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--slow", default=1000, show_default=True, help="number of slow connections")
@click.option("--slow-seconds", default=30.0, show_default=True)
@click.option("--only-infer", type=int, hidden=True)
def main(
    path: Path | None, clients: int, seconds: float, slow: int, slow_seconds: float, only_infer: int | None
) -> None:
    """Load test of `make serve`."""
    images = photographs(64)
    if only_infer is not None:
        assert path
        print(infer_throughput(load_config(path), images, only_infer))
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = path or small_run(Path(temporary))
        click.echo(machine())
        files = round(seconds * 10)
        before = infer_in_a_process(path, files)
        server = Server(path)
        try:
            click.echo(f"{clients} clients for {seconds:g} s, one image per request")
            outcome, served = asyncio.run(load(server.port, images, clients, seconds))
            warm = server.peak_mib()
            click.echo("Adversarial requests")
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
    click.echo(f"  stopped {took:.1f} s after SIGTERM while decoding slow images, {server.grace:g} s stated")
    click.echo(f"  memory: {warm:.0f} MiB under load, {peak:.0f} MiB at most, {server.stated_mib} MiB stated")
    if peak > server.stated_mib:
        problems.append("it used more memory than stated")
    if took > server.grace + 1:
        problems.append("it did not stop within its grace period")
    if code:
        problems.append(f"its exit code was {code}")
    for problem in problems:
        click.echo(f"FAILED: {problem}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
