"""Time and memory of opening many images as a folder, as WebDataset and as Parquet, the first time and again.

    python -m benchmarks.image_sources --images 1000000

The images are JPEGs of 32 pixels. Every opening is a process of its own: what a stage does before it starts to work.
The benchmark fails if the second opening takes more than 5 s, or any of them more than 1.5 GB.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.image_files import FORMATS, make_images
from benchmarks.machine import machine

MAX_SECONDS, MAX_MB = 5.0, 1500.0
OPENINGS = ("first", "second")


def measure(source: str, root: str, runs: str) -> dict[str, float]:
    """Seconds to open a workspace, peak memory in MB of this process and its decoding processes, number of images."""
    import psutil

    from pipeline.config import parse_config
    from pipeline.run.workspace import open_workspace

    tree = {
        "name": source,
        "runs": runs,
        "images": {"source": source, "root": root, "size": 32},
        "model": {"backbone": "shufflenet_v2_x0_5", "weights": "none"},
    }
    config = parse_config(tree, "benchmark")
    begin = time.perf_counter()
    ws = open_workspace(config)
    seconds = time.perf_counter() - begin
    processes = [psutil.Process(), *psutil.Process().children()]
    return {"seconds": seconds, "mb": sum(peak_mb(one.pid) for one in processes), "images": len(ws.table)}


def peak_mb(process: int) -> float:
    """Peak memory of a running process. getrusage would count the process that started it, too."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def open_in_process(source: str, root: Path, runs: Path) -> dict[str, float]:
    """`measure` in a fresh process."""
    code = "import json, sys; from benchmarks.image_sources import measure; print(json.dumps(measure(*sys.argv[1:])))"
    command = [sys.executable, "-c", code, source, str(root), str(runs)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(process.stdout.splitlines()[-1]))


def compare_openings(source: str, root: Path, count: int) -> list[str]:
    """Open a source twice and print both; returns the limits that were exceeded."""
    failed = []
    runs = Path(tempfile.mkdtemp(dir=root.parent, prefix="runs-"))
    try:
        for opening in OPENINGS:
            found = open_in_process(source, root, runs)
            click.echo(
                f"{source:10} {opening:6} opening of {found['images']:,.0f} images: {found['seconds']:7.2f} s, "
                f"peak memory {found['mb']:,.0f} MB"
            )
            if found["images"] != count:
                failed.append(f"{source}: {found['images']:,.0f} of {count:,} images")
            if found["mb"] > MAX_MB:
                failed.append(f"{source}: {opening} opening takes {found['mb']:,.0f} MB, more than {MAX_MB:,.0f}")
            if opening == "second" and found["seconds"] > MAX_SECONDS:
                failed.append(f"{source}: second opening takes {found['seconds']:.2f} s, more than {MAX_SECONDS:g}")
    finally:
        shutil.rmtree(runs)
    return failed


@click.command()
@click.option("--images", default=100_000, show_default=True)
@click.option("--only", type=click.Choice(FORMATS), multiple=True, help="Leave out the other sources.")
@click.option("--place", type=click.Path(path_type=Path), help="Keep the images in this folder, and use them again.")
def main(images: int, only: tuple[str, ...], place: Path | None) -> None:
    """Open images as each source twice."""
    click.echo(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder = place or Path(temporary)
        failed = []
        for source in only or FORMATS:
            begin = time.perf_counter()
            root = make_images(folder, source, images)
            click.echo(f"{source:10} {images:,} images written or found in {time.perf_counter() - begin:.0f} s")
            failed += compare_openings(source, root, images)
    for reason in failed:
        click.echo(reason)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
