"""A small sealed CSV log, for tests of what happens to its file."""

from __future__ import annotations

from pathlib import Path

from feedback_store.csv_store.log import CsvLog

COLUMNS = ("id", "x", "y")


def sealed(folder: Path, rows: int) -> CsvLog:
    """A log of that many appends."""
    log = CsvLog(folder / "x.csv", COLUMNS)
    for number in range(rows):
        log.append([(f"id{number}", f"text {number}", "é, and more")])
    return log
