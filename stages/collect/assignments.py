"""Assign questions to annotators and store their answers, for the page and the window.

An item is assigned to at most `judgments_per_item` people, counting those who answered it and those who hold a lease. An
expired lease frees the item. An answer after that is stored in the store's `late` and not counted, if other people
answered or hold the item by then. The same holds for an answer whose lease is lost.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from threading import Lock

from feedback_store.errors import UnreadableError
from feedback_store.records import Judgment
from feedback_store.store import FeedbackStore, Written
from pipeline.config.collect import CollectConfig
from pipeline.kinds import ScreenSettings
from pipeline.kinds.items import Item
from pipeline.kinds.page_items import Plan
from stages.collect.answering import Answering
from stages.collect.lease_keeper import LeaseKeeper, LeasesError
from stages.collect.ledger import Ledger
from stages.collect.live_queue import Queue
from stages.collect.next_item import NextItem
from stages.collect.room import Room
from stages.collect.tasks import Accepted, Answer, Progress, Task, answers_of


class Assignments:
    """Questions, leases and answers of one collection.

    Args:
        source: source of the judgments: web or tk.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        plan: Plan,
        store: FeedbackStore,
        leases: LeaseKeeper,
        settings: CollectConfig,
        *,
        seed: int,
        source: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.plan, self.store, self.leases, self.settings = plan, store, leases, settings
        self.seed, self.source, self.clock = seed, source, clock
        self.screen_settings = ScreenSettings(plan.classes, settings.rating_levels)
        self.items = {item.key: item for item in (*plan.items, *plan.gold)}
        self._place = {key: place for place, key in enumerate(self.items)}
        self.ledger = Ledger(store)
        self._open = {item.key: settings.judgments_per_item for item in plan.items}  # missing answers
        self._update(list(self._open))
        self._next_item = NextItem(plan, self.items, self.ledger, leases, settings, seed, self._open)
        self.room = Room(leases, self.ledger, self.items, settings.judgments_per_item, clock, self._read_rows)
        self._storing = Lock()  # held during a write of this process
        self.round = 0  # of the answers
        self.new_queue: Callable[[], Queue | None] = lambda: None  # of live collection: a queue that was ranked since

    def _update(self, keys: Iterable[str]) -> None:
        """Update the numbers of missing answers of these items."""
        for key in keys:
            if key in self.items and not self.items[key].gold:
                missing = self.settings.judgments_per_item - len(self.ledger.by_item[key])
                if missing > 0:
                    self._open[key] = missing
                else:
                    self._open.pop(key, None)

    def catch_up(self) -> None:
        """Read what other processes stored since the last call; files are not read during a write of this process.

        A store that cannot be read does not stop the questions: `write` then raises the reason, and the answers wait on the
        page until the store is repaired.
        """
        if queue := self.new_queue():
            self.adopt(queue)
        with suppress(UnreadableError):
            self._read_rows()

    def _read_rows(self) -> None:
        """Add what other processes stored; raises UnreadableError."""
        if self.store.concurrent_reads:
            self._update(self.ledger.catch_up())
        elif self._storing.acquire(blocking=False):
            try:
                self._update(self.ledger.catch_up())
            finally:
                self._storing.release()

    def adopt(self, queue: Queue) -> None:
        """Ask the questions of a queue next, then the others of the plan, as many in all as before.

        Questions that were answered or are held stay known, and answers to them count.
        """
        each, asked = self.settings.judgments_per_item, len(self.plan.items)
        with self.leases.exclusive():
            held = {lease.item: None for lease in self.leases.held(self.clock()) if lease.item in self.items}
        for item in queue.items:
            self.items.setdefault(item.key, item)
        self._place = {key: place for place, key in enumerate(self.items)}
        self.round = queue.round
        answers = {key: len(self.ledger.by_item.get(key, ())) for key, item in self.items.items() if not item.gold}
        begun = [key for key, count in answers.items() if count]
        order = dict.fromkeys([*(item.key for item in queue.items), *held, *(item.key for item in self.plan.items)])
        waiting = [key for key in order if not answers.get(key, 1)]
        room = asked - len(begun) - sum(key in held for key in waiting)
        kept = [key for place, key in enumerate(key for key in waiting if key not in held) if place < room]
        chosen = set(kept) | set(held)
        self._open.clear()
        self._open.update({key: each - answers[key] for key in begun if answers[key] < each})
        self._open.update({key: each for key in waiting if key in chosen})
        items = [self.items[key] for key in (*begun, *(key for key in waiting if key in chosen))]
        self.plan = replace(self.plan, items=items)

    def task(self, annotator: str, item: Item, occasion: int) -> Task:
        """The item as this annotator sees it; the side shown first is random, but the same each time."""
        text = f"{self.seed}\x1f{annotator}\x1f{item.key}\x1f{occasion}"
        return Task(item, occasion, "ab"[hashlib.sha256(text.encode()).digest()[0] & 1])

    def until(self) -> float:
        """End of a lease that starts now, in seconds since the epoch."""
        return self.clock() + self.settings.lease_minutes * 60

    def take(self, annotator: str, wanted: int, holding: Sequence[str] = ()) -> list[Task]:
        """Up to `wanted` new tasks; these and the held ones are reserved for `lease_minutes`."""
        self.catch_up()
        with self.leases.exclusive():
            own = self.leases.lock_own(annotator, self.clock())
            mine = {lease.item: lease for lease in own if lease.item in self.items and not lease.answer}
            others = self.room.held_by_others(annotator)
            unseen = sorted((key for key in mine if key not in holding), key=self._place.__getitem__)
            chosen = [(key, mine[key].occasion) for key in unseen][:wanted]
            taken = {*(lease.item for lease in own), *holding}  # also those whose answer is being stored
            while following := self._next_item.several(annotator, wanted - len(chosen), others, taken):
                taken.update(key for key, _ in following)
                chosen += following if self.leases.locks_all else self.room.locked(annotator, following)
            for key, occasion in [*((key, mine[key].occasion) for key in holding if key in mine), *chosen]:
                self.leases.grant(annotator, key, occasion, self.until())
        return [self.task(annotator, self.items[key], occasion) for key, occasion in chosen]

    def waiting_until(self, annotator: str) -> float | None:
        """When the next lease of others on an item for this annotator expires; None if there is no such lease."""
        held = self.room.held_by_others(annotator)
        times = [
            lease.until
            for key, leases in held.items()
            for lease in leases
            if key in self._open and not self.ledger.by_item[key].get(annotator)
        ]
        return min(times, default=None)

    def skip(self, annotator: str, key: str) -> None:
        """Skip an item: others may have it now, and this annotator gets it again after all other items."""
        with self.leases.exclusive():
            self.leases.lock([key], wait=True)
            lease = self.leases.of(annotator, key)
            if lease and not lease.answer:  # an answer from another tab or server is being stored: it keeps its place
                self.leases.skip(annotator, key, lease.occasion, self.clock())

    def release(self, annotator: str, keys: Sequence[str]) -> None:
        """End leases without an answer."""
        with self.leases.exclusive():
            self.leases.lock(keys, wait=True)
            self.leases.release(annotator, list(keys), self.clock())

    def check(self, annotator: str, answers: Sequence[Answer]) -> Accepted:
        """Turn answers into judgments, without storing them (`commit` does); their items stay leased until then.

        Raises:
            LeasesError, UnreadableError: leases or answers cannot be read or written; send all answers again.
        """
        answering = Answering(self, annotator)
        with self.leases.exclusive():
            self.leases.lock([answer.item for answer in answers if answer.item in self.items], wait=True)
            if not self.leases.locks_all:  # the same person may have answered at another server until now
                self._read_rows()
            for answer in answers:
                answering.add(answer)
        return answering.accepted

    def commit(self, judgments: Sequence[Judgment], late: Sequence[Judgment] = ()) -> None:
        """Store judgments durably, then count them.

        Raises:
            FeedbackError: writing failed, or another program changed a file; send the answers again. The items stay leased.
        """
        self.settle(judgments, self.write(judgments, late))

    def write(self, judgments: Sequence[Judgment], late: Sequence[Judgment]) -> Written | None:
        """First half of `commit`, the slow one; it may run in another thread, parallel to `take` and `check`.

        Returns:
            the positions of the judgments in the store, for `settle`; None without judgments.
        """
        try:
            with self._storing:
                if late:
                    self.store.late.append(late)
                return self.store.write(judgments) if judgments else None
        except Exception:
            with suppress(LeasesError), self.leases.exclusive():
                for annotator, answer in answers_of(judgments):
                    self.leases.reopen(annotator, answer)
            raise

    def settle(self, judgments: Sequence[Judgment], written: Written | None) -> None:
        """Second half of `commit`, the fast one: count stored judgments and end their leases."""
        if written is None:
            return
        self._update(self.ledger.add(judgments, written))
        current = self.ledger.current
        stored = {answer: current[answer] for _, answer in answers_of(judgments) if answer in current}
        # If the leases cannot be written, theirs expire: with its answer in the ledger, a lease no longer counts.
        with suppress(LeasesError), self.leases.exclusive():
            self.leases.lock([one.key for one in stored.values()], wait=True)
            for answer, one in stored.items():
                self.leases.done(one.annotator, one.key, answer)

    @property
    def all_answered(self) -> bool:
        """Whether no question of the plan needs another answer; safe to read from any thread."""
        return not self._open

    def progress(self, annotator: str) -> Progress:
        """Progress of this annotator and of the collection."""
        total = len(self.plan.items) * self.settings.judgments_per_item
        answered = self.ledger.by_annotator[annotator]
        left = len(self._open) - len({key for key in answered.values() if key in self._open})
        return Progress(len(answered), left, total - sum(self._open.values()), total)
