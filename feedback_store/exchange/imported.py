"""The outcome of reading a file of another tool: judgments, what was left out, and what is wrong, by line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from feedback_store.records import Judgment
from feedback_store.tables import as_row


@dataclass(frozen=True)
class Reject:
    """Something that could not be imported: its line in the file, why, and what stood there."""

    line: int
    reason: str
    record: Any


@dataclass(frozen=True)
class Entry:
    """A judgment, and where it is from.

    Attributes:
        own_id: whether the file gave its id; an id that was derived from the record stands for that record.
        timed: whether the file said when it was given; otherwise the time of import stands there.
    """

    judgment: Judgment
    line: int
    record: Any
    own_id: bool = True
    timed: bool = True

    def says(self, row: Mapping[str, str]) -> bool:
        """Whether a row of the same id is this judgment."""
        mine, other = as_row(self.judgment), dict(row)
        if not self.timed:
            other["created_at"] = mine["created_at"]
        return not self.own_id or mine == other


@dataclass
class Imported:
    """What a file holds.

    Attributes:
        entries: judgments that can be stored, each id once.
        rejects: what is wrong, by line.
        left_out: what is right but no judgment of ours, counted by what it is (ties, cancelled, ...).
        repeated: how many entries stand in the file again, word for word.
    """

    entries: list[Entry] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    repeated: int = 0

    @property
    def judgments(self) -> list[Judgment]:
        return [entry.judgment for entry in self.entries]

    def settle_ids(self) -> Imported:
        """Keep one of the entries that say the same under one id; reject all that contradict each other."""
        by_id: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            by_id[entry.judgment.id].append(entry)
        self.entries = []
        for same in by_id.values():
            first, *others = same
            if other := next((one for one in others if not _agree(first, one)), None):
                self._reject(first, f"line {other.line} has the same id and other contents")
                for one in others:
                    self._reject(one, f"line {first.line} has the same id and other contents")
            else:
                self.entries.append(first)
                self.repeated += len(others)
        self.rejects.sort(key=lambda reject: reject.line)
        return self

    def reject_contradictions(self, stored: Mapping[str, Mapping[str, str]]) -> None:
        """Reject what has the id of a stored row (by id) and says something else."""
        kept = []
        for entry in self.entries:
            row = stored.get(entry.judgment.id)
            if row is None or entry.says(row):
                kept.append(entry)
            else:
                self._reject(entry, "a judgment with this id and other contents is stored already")
        self.entries = kept
        self.rejects.sort(key=lambda reject: reject.line)

    def _reject(self, entry: Entry, reason: str) -> None:
        self.rejects.append(Reject(entry.line, f"the id {entry.judgment.id!r}: {reason}", entry.record))


def _agree(one: Entry, other: Entry) -> bool:
    row = as_row(other.judgment)
    if not other.timed:
        row["created_at"] = one.judgment.created_at
    return one.says(row)
