"""images.csv: every file of a source, whether it is used, and the reason if not."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from pipeline.data.table_file import Skipped
from pipeline.run.atomic_files import printable, writing

STEP = 65_536  # rows that are written at a time
NEEDS_QUOTES = '[",\\r\\n]'


def write_images_csv(path: Path, paths: Any, ids: Any, splits: Any, skipped: Sequence[Skipped]) -> None:
    """Replace the file.

    Args:
        paths, ids, splits: [N] columns of the images used.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(path), partial.open("wb") as file:
            file.write(b"path,image,split,used,reason\n")
            for rows in _steps(len(ids)):
                used = [column[rows].tolist() for column in (paths, ids, splits)]
                file.write(_lines(used[0], used[1], used[2], used=True, reasons=[""] * len(used[0])))
            for rows in _steps(len(skipped)):
                some = skipped[rows]
                empty = [""] * len(some)
                names, reasons = [s.path for s in some], [printable(s.reason) for s in some]
                file.write(_lines(names, empty, empty, used=False, reasons=reasons))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _steps(count: int) -> Iterator[slice]:
    return (slice(start, start + STEP) for start in range(0, count, STEP))


def _lines(
    paths: Sequence[str], ids: Sequence[str], splits: Sequence[str], *, used: bool, reasons: Sequence[str]
) -> bytes:
    """Some rows as pandas writes them, of which Arrow's faster writer is used where no cell needs quotes."""
    columns = {"path": [printable(path) for path in paths], "image": ids, "split": splits}
    columns |= {"used": [str(used)] * len(paths), "reason": reasons}
    table = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    if any(pc.any(pc.match_substring_regex(table[name], NEEDS_QUOTES)).as_py() for name in ("path", "reason")):
        return pd.DataFrame(columns).to_csv(index=False, header=False).encode()
    out = io.BytesIO()
    csv.write_csv(table, out, csv.WriteOptions(include_header=False, quoting_style="none"))
    return out.getvalue()
