"""Who holds which question until when: a small SQLite file, so that it outlives the server and serves several.

Leases are no judgments: losing them costs nobody an answer. They are therefore written without waiting for the disk,
which a killed process survives and a power cut may not.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS leases (
    annotator TEXT NOT NULL, item TEXT NOT NULL, occasion INTEGER NOT NULL, until REAL NOT NULL,
    state TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (annotator, item)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON leases (state, until);
"""


@dataclass(frozen=True)
class Lease:
    """An item given to an annotator; occasion 0 is the first time, 1 the repetition that measures consistency.

    `answer` is the id of the answer that is on its way to the disk, empty before.
    """

    annotator: str
    item: str
    occasion: int
    until: float
    answer: str


class Leases:
    """States of a lease: held (counts until it expires), skipped (the person wants it later), done (answered)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        self._db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; {_SCHEMA}")
        self._guard = threading.RLock()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """What is read and granted inside is one step, for threads and processes alike."""
        with self._guard:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def held(self, now: float) -> list[Lease]:
        """Every lease that counts at this time."""
        found = self._db.execute(
            "SELECT annotator, item, occasion, until, answer FROM leases WHERE state = 'held' AND until > ?", (now,)
        )
        return [Lease(*row) for row in found]

    def of(self, annotator: str, item: str) -> Lease | None:
        """The lease an annotator has, or once had, on an item."""
        row = self._db.execute(
            "SELECT annotator, item, occasion, until, answer FROM leases WHERE annotator = ? AND item = ? AND state != 'done'",
            (annotator, item),
        ).fetchone()
        return Lease(*row) if row else None

    def skipped(self, annotator: str) -> list[str]:
        """Items put off, longest ago first."""
        found = self._db.execute(
            "SELECT item FROM leases WHERE annotator = ? AND state = 'skipped' ORDER BY until", (annotator,)
        )
        return [item for (item,) in found]

    def grant(self, annotator: str, item: str, occasion: int, until: float, answer: str = "") -> None:
        self._put(annotator, item, occasion, until, "held", answer)

    def skip(self, annotator: str, item: str, occasion: int, now: float) -> None:
        self._put(annotator, item, occasion, now, "skipped")

    def done(self, annotator: str, item: str, answer: str) -> None:
        """The answer is on disk; unless the item was given anew meanwhile, the lease is over."""
        self._db.execute(
            "UPDATE leases SET state = 'done' WHERE annotator = ? AND item = ? AND answer = ?",
            (annotator, item, answer),
        )

    def reopen(self, annotator: str, answer: str) -> None:
        """The answer did not reach the disk: the item is still held, and may be answered under another id."""
        self._db.execute("UPDATE leases SET answer = '' WHERE annotator = ? AND answer = ?", (annotator, answer))

    def _put(self, annotator: str, item: str, occasion: int, until: float, state: str, answer: str = "") -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)", (annotator, item, occasion, until, state, answer)
        )

    def release(self, annotator: str, items: list[str], now: float) -> None:
        """Others may have these items now."""
        for item in items:
            self._db.execute(
                "UPDATE leases SET until = ? WHERE annotator = ? AND item = ? AND state = 'held'",
                (now, annotator, item),
            )
