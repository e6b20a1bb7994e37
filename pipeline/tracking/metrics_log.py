"""Write one row of metrics per epoch or iteration to metrics.csv, TensorBoard and a tracker."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from pipeline.errors import Stopped
from pipeline.tracking.tracker import Tracking

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Row = dict[str, float]


class Metrics:
    """Appends rows of numbers to a CSV whose columns are fixed by the first row; used as a context manager.

    Processes other than the first pass no path and write nothing. TensorBoard's events go to the folder `tensorboard`
    next to the CSV (to a sub-folder of the file's name, unless that is metrics.csv), one scalar per column, against the
    row's number. A tracker gets the same rows. It is closed here only after an error; otherwise the final results follow.

    Attributes:
        rows: all rows so far; those of an interrupted run are passed to `resume`.
    """

    def __init__(self, path: Path | None, tracking: Tracking | None = None) -> None:
        self.path = path
        self.tracking = tracking
        self.rows: list[Row] = []
        self._columns: list[str] = []
        self._board: SummaryWriter | None = None

    def __enter__(self) -> Metrics:
        if self.path:
            from torch.utils.tensorboard import SummaryWriter  # slow to import, and only needed here

            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", newline="", encoding="utf-8")
            board = self.path.parent / "tensorboard" / (self.path.stem if self.path.stem != "metrics" else "")
            shutil.rmtree(board, ignore_errors=True)  # events of a previous run
            self._board = SummaryWriter(str(board), max_queue=1000)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path:
            self._file.close()
        if self._board:
            self._board.close()
        if self.tracking and error:
            self.tracking.close("stopped" if isinstance(error, KeyboardInterrupt | Stopped) else "failed")

    def resume(self, rows: Sequence[Row], columns: Sequence[str] = ()) -> None:
        """Write the rows of an interrupted run; pass `columns` if the first row lacks some."""
        for row in rows:
            self.add(**{name: row.get(name) for name in columns or row})

    @property
    def columns(self) -> list[str]:
        """Names, in order."""
        return list(self._columns)

    def add(self, **values: float | None) -> None:
        """Write one row; None leaves a cell empty (not measured at this step)."""
        row = {name: value for name, value in values.items() if value is not None}
        self._columns = self._columns or list(values)
        self.rows.append(row)
        if not self.path:
            return
        writer = csv.DictWriter(self._file, self._columns, lineterminator="\n")
        if len(self.rows) == 1:
            writer.writeheader()
        writer.writerow({n: f"{v:.6g}" if isinstance(v, float) else v for n, v in row.items()})
        self._file.flush()
        if self._board:
            for name, value in row.items():
                self._board.add_scalar(name, value, len(self.rows))
        if self.tracking:
            self.tracking.log(row, len(self.rows))
