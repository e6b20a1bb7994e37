"""rounds/rounds.csv: a row per finished round of `make rounds`, for the summary, the report and the model card."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.run.atomic_files import write_atomically

REQUIRED = ("round", "answers")
SECONDS = ("simulated_seconds", "seconds")  # columns of the seconds that all answers so far cost; simulated ones first

_log = logging.getLogger(__name__)


def rounds_path(run: Path) -> Path:
    return run / "rounds" / "rounds.csv"


def write_rounds(run: Path, table: pd.DataFrame) -> None:
    """Write the rows of the rounds that are finished."""
    write_atomically(rounds_path(run), table.to_csv(index=False).encode())


def read_rounds(run: Path) -> list[dict[str, Any]]:
    """The rows, None for empty cells; no rows if there is no such file, or if it is damaged, which is reported."""
    path = rounds_path(run)
    if not path.is_file():
        return []
    try:
        frame = pd.read_csv(path)
        if missing := [name for name in REQUIRED if name not in frame]:
            raise ValueError(f"no column {missing[0]}")
        numbers = frame.apply(pd.to_numeric)
    except (ValueError, pd.errors.ParserError) as error:
        _log.warning(f"{path}: damaged ({str(error).splitlines()[0]}), left out; `make rounds` writes it again")
        return []
    return [{str(name): _plain(value) for name, value in row.items()} for row in numbers.to_dict("records")]


def add_rounds(summary: dict[str, Any], run: Path) -> None:
    """Add the rows to summary.json, and the seconds of all answers, unless more were collected since."""
    rows = read_rounds(run)
    if rows:
        summary["rounds"] = rows
        summary.setdefault("judgments", rows[-1]["answers"])  # rounds collect by themselves
        simulated, measured = (rows[-1].get(name) or 0.0 for name in SECONDS)
        if simulated + measured > summary.get("seconds_of_people", 0.0):
            summary |= {"seconds_of_people": simulated + measured, "seconds_simulated": simulated}


def seconds_column(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The column of seconds that these rows have; None if they have none."""
    return next((name for name in SECONDS if rows and rows[0].get(name) is not None), None)


def _plain(value: Any) -> float | int | None:
    return value if math.isfinite(value) else None
