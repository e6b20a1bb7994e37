"""Copy comparisons from CSV files to PostgreSQL and back: seconds, and whether the files are the same bytes.

`python -m benchmarks.store_copy` starts its own PostgreSQL in a temporary folder. The exit code is 1 if a file differs.
"""

from __future__ import annotations

import hashlib
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks.load_test import new_database
from feedback_store.copying import copy_store
from feedback_store.csv_store.columns import PAIRWISE
from feedback_store.csv_store.line import line_of
from feedback_store.csv_store.seal import Seal
from feedback_store.csv_store.store import CsvFeedbackStore
from feedback_store.store_registry import open_store


def write_comparisons(folder: Path, rows: int) -> int:
    """A file of comparisons with its seal, as if they had been appended; returns its size in bytes."""
    dice = random.Random(0)
    images = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(20_000)]
    folder.mkdir(parents=True)
    seal, size, entries = Seal(folder / "pairwise.csv.seal"), 0, 0
    with (folder / "pairwise.csv").open("wb") as file:
        for start in range(-1, rows, 10_000):
            lines = [line_of(PAIRWISE)] if start < 0 else []
            for number in range(max(start, 0), min(start + 10_000, rows)):
                image = dice.choice(images)
                cells = [f"{dice.getrandbits(128):032x}", "2026-11-21T10:00:00.000Z", f"person{number % 300}", "0"]
                cells += [image, "seven", image, "nine", dice.choice("ab"), dice.choice("ab"), "812", "web", ""]
                lines.append(line_of(cells))
            data = b"".join(lines)
            file.write(data)
            entries += seal.add(data, size, entries)
            size += len(data)
    return size


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
def main(rows: int) -> None:
    """Time both ways and compare the files."""
    with tempfile.TemporaryDirectory() as temporary:
        one, back = Path(temporary) / "one", Path(temporary) / "back"
        size = write_comparisons(one, rows)
        database = new_database()
        try:
            store = open_store(f"{database.address()}?collection=copied")
            for what, source, target in (
                ("import", CsvFeedbackStore(one), store),
                ("export", store, CsvFeedbackStore(back)),
            ):
                started = time.perf_counter()
                copied, _ = copy_store(source, target)
                click.echo(f"{what}: {copied} rows, {time.perf_counter() - started:.1f} s")
        finally:
            database.remove()
        names = sorted(path.name for path in one.iterdir() if path.suffix != ".lock")
        same = all((one / name).read_bytes() == (back / name).read_bytes() for name in names)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    click.echo(
        f"{size / 1e6:.0f} MB; {' and '.join(names)} {'are identical' if same else 'DIFFER'}; peak {peak:.2f} GB"
    )
    sys.exit(not same)


if __name__ == "__main__":
    main()
