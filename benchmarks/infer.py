"""Throughput of `infer` relative to the bare forward pass, and its peak memory for 2,000 and 20,000 images.

Run `python -m benchmarks.infer`, or with `--only throughput` or `--only memory`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image

from benchmarks.machine import machine, median_ratio, time_alternating
from benchmarks.untrained import make_untrained
from pipeline.config import Config, parse_config
from pipeline.data.transforms import normalise
from pipeline.models.predictor import Predictor
from pipeline.run.runtime import peak_memory_mb

SIZE, CLASSES = 224, ("ant", "bee")
MEMORY_IMAGES = (2_000, 20_000)


def make_run(folder: Path, backbone: str) -> Config:
    """A run with an untrained policy, which is as fast as a trained one."""
    tree = {"name": backbone, "runs": str(folder / "runs"), "images": {"root": str(folder), "size": SIZE}}
    config = parse_config({**tree, "model": {"backbone": backbone, "weights": "none"}}, "benchmark")
    make_untrained(config, CLASSES, reference=False)
    return config


def make_images(folder: Path, count: int, distinct: int = 500) -> Path:
    """JPEG files of `SIZE` pixels with coarse and fine structure, about 20 kB each; `distinct` files, and hard links to them."""
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / "images" / f"{number:06d}.jpg"
        if number < distinct:
            coarse = Image.fromarray(random.integers(0, 256, (14, 14, 3), dtype=np.uint8)).resize((SIZE, SIZE))
            fine = random.normal(0, 12, (SIZE, SIZE, 3))
            Image.fromarray((np.asarray(coarse) + fine).clip(0, 255).astype(np.uint8)).save(path, quality=90)
        else:
            path.hardlink_to(folder / "images" / f"{number % distinct:06d}.jpg")
    return folder / "images"


def throughput(count: int, rounds: int) -> None:
    """Print the throughput of `infer` on JPEG files and of the same network on as many tensors."""
    from stages.infer.run import run

    with tempfile.TemporaryDirectory() as place:
        config = make_run(Path(place), "resnet18")
        images = make_images(Path(place), count)
        predictor = Predictor.load(config.runs / config.name)
        size = config.infer.batch_size
        files = sorted(images.iterdir())[: 4 * size]
        pixels = np.stack([predictor.prepare(path) for path in files])
        tensors = list(normalise(torch.from_numpy(pixels)).split(size))

        @torch.no_grad()
        def forward() -> None:
            for batch, first in zip(itertools.cycle(tensors), range(0, count, size), strict=False):
                predictor.network(batch[: count - first])

        times = time_alternating({"forward": forward, "infer": lambda: run(config, str(images))}, rounds)
        for name, seconds_each in times.items():
            click.echo(f"{name:8} {', '.join(f'{count / seconds:.1f}' for seconds in seconds_each)} images per second")
        click.echo(
            f"infer reaches {median_ratio(times, 'forward', 'infer'):.3f} of the bare forward pass (median of {rounds})"
        )


def measure(folder: str, images: str) -> float:
    """Peak memory in MiB of this process after `infer`."""
    from stages.infer.run import run

    run(make_run(Path(folder), "squeezenet1_1"), images)
    return peak_memory_mb()


def memory() -> None:
    """Print peak memory for each number of images, SqueezeNet at 224 pixels."""
    peaks = []
    for count in MEMORY_IMAGES:
        with tempfile.TemporaryDirectory() as place:
            images = make_images(Path(place), count)
            code = f"import json; from benchmarks.infer import measure; print(json.dumps(measure({place!r}, {str(images)!r})))"
            process = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
            peaks.append(json.loads(process.stdout.splitlines()[-1]))
            click.echo(f"{count:7,} images: peak {peaks[-1]:.0f} MB")
    click.echo(f"ratio {peaks[1] / peaks[0]:.3f}")


@click.command()
@click.option("--images", default=2000, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Measurements of each; the median is reported.")
@click.option("--only", type=click.Choice(["throughput", "memory"]))
def main(images: int, rounds: int, only: str | None) -> None:
    """Print the ratios."""
    click.echo(machine())
    if only != "memory":
        throughput(images, rounds)
    if only != "throughput":
        memory()


if __name__ == "__main__":
    main()
