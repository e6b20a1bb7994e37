"""Leases: who holds which question until when, in a SQLite file that several servers can share.

Losing leases loses no answer. After a power cut the file is consistent, but its last changes may be missing. A damaged
file is set aside and replaced by an empty one.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from feedback_store.errors import FeedbackWarning
from stages.collect.lease_keeper import Lease, LeaseKeeper, LeasesError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS leases (
    annotator TEXT NOT NULL, item TEXT NOT NULL, occasion INTEGER NOT NULL, until REAL NOT NULL,
    state TEXT NOT NULL, answer TEXT NOT NULL, PRIMARY KEY (annotator, item)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON leases (state, until);
CREATE INDEX IF NOT EXISTS by_answer ON leases (answer);
"""
_COLUMNS = {"annotator": 1, "item": 2, "occasion": 0, "until": 0, "state": 0, "answer": 0}  # primary key
_COUNT_MALFORMED = """
SELECT count(*) FROM leases WHERE typeof(annotator) != 'text' OR typeof(item) != 'text' OR typeof(occasion) != 'integer'
    OR typeof(until) != 'real' OR typeof(answer) != 'text' OR state NOT IN ('held', 'skipped', 'done')
"""

_REFUSED_BY_SYSTEM = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _named(error: sqlite3.Error, path: Path) -> LeasesError:
    return LeasesError(
        f"the leases cannot be read or written ({error}): {path}; free disk space or fix that, and restart if the file is damaged"
    )


def _names_the_file(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorates a method of `Leases`: turns errors of SQLite into a LeasesError that names the file."""

    @wraps(method)
    def wrapped(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return method(*args, **options)
        except sqlite3.Error as error:
            raise _named(error, args[0].path) from error  # type: ignore[attr-defined]

    return wrapped


class Leases(LeaseKeeper):
    """Every method raises LeasesError if the file cannot be read or written."""

    locks_all = True  # SQLite has one lock, that of the file

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._guard = threading.RLock()
        try:
            self._db = _open(path)
        except _Damaged as damage:
            _set_aside(path, damage)
            self._db = self._open_empty()

    @_names_the_file
    def _open_empty(self) -> sqlite3.Connection:
        return _open(self.path)

    def clock(self) -> float:
        return time.time()

    def close(self) -> None:
        self._db.close()

    def lock(self, items: Collection[str], *, wait: bool = False) -> set[str]:
        return set(items)

    def lock_own(self, annotator: str, now: float) -> list[Lease]:
        return self.held(now, annotator=annotator)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._guard:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise _named(error, self.path) from error
            finally:
                if self._db.in_transaction:  # after an error SQLite may have ended the transaction or not
                    self._db.execute("ROLLBACK")

    @_names_the_file
    def held(self, now: float, *, annotator: str | None = None, items: Collection[str] | None = None) -> list[Lease]:
        rows = self._db.execute(
            "SELECT annotator, item, occasion, until, answer FROM leases WHERE state = 'held' AND until > ?", (now,)
        )
        leases = [Lease(*row) for row in rows if annotator in (None, row[0])]
        return leases if items is None else [lease for lease in leases if lease.item in items]

    @_names_the_file
    def of(self, annotator: str, item: str) -> Lease | None:
        row = self._db.execute(
            "SELECT annotator, item, occasion, until, answer FROM leases WHERE annotator = ? AND item = ? AND state != 'done'",
            (annotator, item),
        ).fetchone()
        return Lease(*row) if row else None

    @_names_the_file
    def answered_by(self, answer: str) -> list[tuple[str, str]]:
        return self._db.execute("SELECT annotator, item FROM leases WHERE answer = ?", (answer,)).fetchall()

    @_names_the_file
    def skipped(self, annotator: str) -> list[str]:
        rows = self._db.execute(
            "SELECT item FROM leases WHERE annotator = ? AND state = 'skipped' ORDER BY until", (annotator,)
        )
        return [item for (item,) in rows]

    def grant(self, annotator: str, item: str, occasion: int, until: float, *, answer: str = "") -> None:
        self._put(annotator, item, occasion, until, state="held", answer=answer)

    def skip(self, annotator: str, item: str, occasion: int, now: float) -> None:
        self._put(annotator, item, occasion, now, state="skipped")

    @_names_the_file
    def done(self, annotator: str, item: str, answer: str) -> None:
        self._db.execute(
            "UPDATE leases SET state = 'done' WHERE annotator = ? AND item = ? AND answer = ?",
            (annotator, item, answer),
        )

    @_names_the_file
    def reopen(self, annotator: str, answer: str) -> None:
        self._db.execute("UPDATE leases SET answer = '' WHERE annotator = ? AND answer = ?", (annotator, answer))

    @_names_the_file
    def _put(self, annotator: str, item: str, occasion: int, until: float, *, state: str, answer: str = "") -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)", (annotator, item, occasion, until, state, answer)
        )

    @_names_the_file
    def release(self, annotator: str, items: Sequence[str], now: float) -> None:
        for item in items:
            self._db.execute(
                "UPDATE leases SET until = ? WHERE annotator = ? AND item = ? AND state = 'held' AND answer = ''",
                (now, annotator, item),
            )


class _Damaged(Exception):
    """The file exists but is not a valid file of leases."""


def _open(path: Path) -> sqlite3.Connection:
    """Raises: _Damaged for an invalid file, LeasesError for an error of the operating system."""
    database = None
    try:
        database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
        database.text_factory = lambda text: text.decode("utf-8", "replace")  # undecodable bytes match no annotator
        database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
        if damage := _damage(database):
            raise _Damaged(damage)
        return database
    except (sqlite3.Error, UnicodeError, _Damaged) as error:
        if database is not None:
            database.close()
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", -1) & 0xFF in _REFUSED_BY_SYSTEM:
            raise _named(error, path) from error
        raise _Damaged(str(error)) from error


def _damage(database: sqlite3.Connection) -> str:
    """The first problem of a file of leases; empty if it is valid."""
    (result,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if result != "ok":
        return str(result)
    columns = {row[1]: row[5] for row in database.execute("PRAGMA table_info(leases)")}
    if columns != _COLUMNS:
        return "its table has other columns"
    (malformed,) = database.execute(_COUNT_MALFORMED).fetchone()
    return f"{malformed} rows are malformed" if malformed else ""


def _set_aside(path: Path, damage: _Damaged) -> None:
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    for suffix in ("-wal", "-shm", ""):
        with_suffix = path.with_name(path.name + suffix)
        if with_suffix.exists():
            with_suffix.replace(aside.with_name(aside.name + suffix))
    warnings.warn(
        f"damaged file of leases ({damage}): {path}; it was set aside as {aside.name}; all questions are free "
        "again, and no answer is lost",
        FeedbackWarning,
        stacklevel=3,
    )
