"""CsvFeedbackStore: a folder with pairwise.csv and per_image.csv, durable, with checksums (`log`, `seal`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import pandas as pd

from feedback_store.csv_store.checks import check_pairwise, check_per_image
from feedback_store.csv_store.columns import PAIRWISE, PER_IMAGE
from feedback_store.csv_store.log import CsvLog
from feedback_store.csv_store.verified_file import Place
from feedback_store.records import Judgment
from feedback_store.store import START, Added, FeedbackStore, Position, Written
from feedback_store.tables import TableName, as_row, table_of


class CsvFeedbackStore(FeedbackStore):
    """Args:
    folder: created, with its files, by the first append.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pairwise = CsvLog(folder / "pairwise.csv", PAIRWISE, check_pairwise)
        self.per_image = CsvLog(folder / "per_image.csv", PER_IMAGE, check_per_image)
        self.logs: dict[TableName, CsvLog] = {"pairwise": self.pairwise, "per_image": self.per_image}

    @property
    def location(self) -> str:
        return str(self.folder)

    @cached_property
    def late(self) -> CsvFeedbackStore:
        return CsvFeedbackStore(self.folder / "late")

    def write(self, judgments: Sequence[Judgment]) -> Written:
        rows: dict[TableName, list[list[str]]] = {name: [] for name in self.logs}
        for judgment in judgments:
            rows[table_of(judgment)].append(list(as_row(judgment).values()))
        if all(rows.values()):
            self.per_image.look()  # raises before anything is stored in the other file
        count, start, end = 0, [], []
        for name, log in self.logs.items():
            added, before, after = log.write(rows[name]) if rows[name] else (0, log.place, log.place)
            count += added
            start.append(before)
            end.append(after)
        return Written(count, _position(start), _position(end))

    def all_rows(self, table: TableName) -> pd.DataFrame:
        """Every row of a file, checked; the index is the line in the file."""
        return self.logs[table].read()

    def rows_since(self, position: Position) -> Added:
        places = _places(position, len(self.logs))
        reset = places is None
        places = places or [Place() for _ in self.logs]
        added = [log.rows_since(place) for log, place in zip(self.logs.values(), places, strict=True)]
        if any(part.reset for part in added):
            reset = True
            added = [log.rows_since(Place()) for log in self.logs.values()]
        rows = [row for part in added for row in part.rows]
        return Added(rows, _position([part.place for part in added]), reset)

    def copy_in(self, pieces: Mapping[TableName, Iterable[pd.DataFrame]]) -> int:
        with ExitStack() as stack:  # all files are written before the first one is put into place
            copies = [stack.enter_context(self.logs[table].copying(frames)) for table, frames in pieces.items()]
            return sum(copy.put() for copy in copies)

    def fingerprint(self) -> dict[str, str]:
        """The hash of each file that exists, by its name."""
        return {log.path.name: _sha256(log.path) for log in self.logs.values() if log.path.is_file()}

    def is_empty(self) -> bool:
        filled = [log.has_rows() for log in self.logs.values()]  # asks each log: one may raise ChangedError
        return not any(filled)

    def table_location(self, table: TableName) -> str:
        return str(self.logs[table].path)

    def where(self, table: TableName, row: object) -> str:
        return f"{self.table_location(table)}, line {row}"

    def accept(self) -> list[str]:
        logs = [*self.logs.values(), *self.late.logs.values()]
        return [str(copy) for log in logs if log.was_stored and (copy := log.accept())]

    def unverified(self) -> int:
        return sum(log.unsealed() for log in self.logs.values())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _position(places: Sequence[Place]) -> Position:
    """The places in all files as one text: `bytes:checksum`, the files separated by spaces."""
    return Position(" ".join(f"{place.offset}:{place.crc}" for place in places))


def _places(position: Position, files: int) -> list[Place] | None:
    """The places in a position; None if it is malformed, so that everything has to be read."""
    if position == START:
        return [Place() for _ in range(files)]
    parts = [part.split(":") for part in position.split(" ")]
    try:
        places = [Place(int(offset), int(crc)) for offset, crc in parts]
    except ValueError:
        return None
    return places if len(places) == files and all(place.offset >= 0 for place in places) else None
