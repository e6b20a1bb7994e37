"""The result of reading another tool's file: judgments, counts of skipped records, and rejected records by line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from feedback_store.records import Judgment
from feedback_store.tables import as_row


@dataclass(frozen=True)
class Reject:
    """A record that could not be imported: its line in the file, the reason, and the record."""

    line: int
    reason: str
    record: Any


@dataclass(frozen=True)
class Entry:
    """A judgment and the record it was read from.

    Attributes:
        has_id: whether the file has its id; otherwise the id was derived from the record.
        has_time: whether the file has its time; otherwise `created_at` is the time of import.
    """

    judgment: Judgment
    line: int
    record: Any
    has_id: bool = True
    has_time: bool = True

    def equals(self, row: Mapping[str, str]) -> bool:
        """Whether a row with the same id is the same judgment."""
        own, other = as_row(self.judgment), dict(row)
        if not self.has_time:
            other["created_at"] = own["created_at"]
        return not self.has_id or own == other


@dataclass
class Imported:
    """The contents of a file.

    Attributes:
        entries: judgments that can be stored, each id once.
        rejects: invalid records, by line.
        left_out: number of valid records that are not judgments, by reason (cancelled annotations, ...).
        repeated: number of exact duplicates of other entries.
    """

    entries: list[Entry] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    repeated: int = 0

    @property
    def judgments(self) -> list[Judgment]:
        return [entry.judgment for entry in self.entries]

    def resolve_ids(self) -> Imported:
        """Of equal entries with the same id keep one; reject all entries that have the same id and differ."""
        by_id: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            by_id[entry.judgment.id].append(entry)
        self.entries = []
        for same in by_id.values():
            first, *others = same
            if other := next((one for one in others if not _equal(first, one)), None):
                self._reject(first, f"line {other.line} has the same id and other contents")
                for one in others:
                    self._reject(one, f"line {first.line} has the same id and other contents")
            else:
                self.entries.append(first)
                self.repeated += len(others)
        self.rejects.sort(key=lambda reject: reject.line)
        return self

    def reject_contradictions(self, stored: Mapping[str, Mapping[str, str]]) -> None:
        """Reject entries that have the id of a stored row and differ from it; stored: rows by id."""
        accepted = []
        for entry in self.entries:
            row = stored.get(entry.judgment.id)
            if row is None or entry.equals(row):
                accepted.append(entry)
            else:
                self._reject(entry, "a judgment with this id and other contents is stored already")
        self.entries = accepted
        self.rejects.sort(key=lambda reject: reject.line)

    def _reject(self, entry: Entry, reason: str) -> None:
        self.rejects.append(Reject(entry.line, f"the id {entry.judgment.id!r}: {reason}", entry.record))


def _equal(one: Entry, other: Entry) -> bool:
    row = as_row(other.judgment)
    if not other.has_time:
        row["created_at"] = one.judgment.created_at
    return one.equals(row)
