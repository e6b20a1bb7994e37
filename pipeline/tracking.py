"""metrics.csv: one row a step or iteration, written as it happens."""

from __future__ import annotations

import csv
from pathlib import Path
from types import TracebackType


class Metrics:
    """Appends rows of numbers to a CSV whose columns are fixed by the first row; used as a context manager.

    A run that does not write (a process other than the first) passes no path.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def __enter__(self) -> Metrics:
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", newline="", encoding="utf-8")
            self._writer: csv.DictWriter[str] | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path:
            self._file.close()

    def add(self, **values: float | None) -> None:
        """Write one row; None leaves a cell empty (not measured at this step)."""
        row = {name: value for name, value in values.items() if value is not None}
        self.rows.append(row)
        if not self.path:
            return
        if self._writer is None:
            self._writer = csv.DictWriter(self._file, list(values), lineterminator="\n")
            self._writer.writeheader()
        self._writer.writerow({n: f"{v:.6g}" if isinstance(v, float) else v for n, v in row.items()})
        self._file.flush()
