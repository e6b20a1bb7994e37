"""The interface of what keeps leases: who holds which question until when.

`stages.collect.leases` keeps them in a SQLite file next to the run, for servers of one machine;
`stages.collect.postgres_leases` in the database that has the judgments, for servers on any number of machines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from feedback_store.errors import FeedbackError


class LeasesError(FeedbackError):
    """Leases cannot be read or written; no answer was accepted or lost."""


@dataclass(frozen=True)
class Lease:
    """An item that is reserved for an annotator.

    Attributes:
        item: its key.
        occasion: 0 the first time, 1 for the repetition that measures consistency.
        until: end of the lease, in seconds since the epoch.
        answer: id of the answer that is being stored; empty before.
    """

    annotator: str
    item: str
    occasion: int
    until: float
    answer: str


class LeaseKeeper(ABC):
    """States of a lease: held (counts until it expires), skipped (the person wants it later), done (answered).

    Every method raises LeasesError if leases cannot be read or written.

    Attributes:
        locks_all: `exclusive` keeps all other servers from changing leases; otherwise only items that `lock` returned are safe.
    """

    locks_all: bool

    @abstractmethod
    def clock(self) -> float:
        """Seconds since the epoch, by the clock that all servers of the collection share."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[None]:
        """A transaction: all changes in it are made, or none."""

    @abstractmethod
    def lock(self, items: Collection[str], *, wait: bool = False) -> set[str]:
        """Keep other servers from assigning these items until the end of the transaction.

        Args:
            wait: until other servers have finished with them; otherwise items that others have locked are left out.

        Returns:
            the locked items.
        """

    @abstractmethod
    def held(self, now: float, *, annotator: str | None = None, items: Collection[str] | None = None) -> list[Lease]:
        """Leases that have not expired at this time: all, or those of an annotator or on some items."""

    @abstractmethod
    def lock_own(self, annotator: str, now: float) -> list[Lease]:
        """An annotator's leases that have not expired, locked, so that they may be renewed."""

    @abstractmethod
    def of(self, annotator: str, item: str) -> Lease | None:
        """The lease, possibly expired, that an annotator has on an item; None if there is none."""

    @abstractmethod
    def answered_by(self, answer: str) -> list[tuple[str, str]]:
        """Annotator and item of the leases that the answer with this id is for."""

    @abstractmethod
    def skipped(self, annotator: str) -> list[str]:
        """Skipped items, in the order in which they were skipped."""

    @abstractmethod
    def grant(self, annotator: str, item: str, occasion: int, until: float, *, answer: str = "") -> None:
        """Reserve an item, or renew its lease."""

    @abstractmethod
    def skip(self, annotator: str, item: str, occasion: int, now: float) -> None:
        """End a lease; `skipped` lists its item."""

    @abstractmethod
    def done(self, annotator: str, item: str, answer: str) -> None:
        """End the lease of a stored answer, unless the item was assigned again in the meantime."""

    @abstractmethod
    def reopen(self, annotator: str, answer: str) -> None:
        """After a failed write: the item is still leased and may be answered under another id."""

    @abstractmethod
    def release(self, annotator: str, items: Sequence[str], now: float) -> None:
        """End leases, so that others may have these items; a lease whose answer is being stored stays."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open."""
