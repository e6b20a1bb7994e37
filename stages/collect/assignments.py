"""Who is asked what next, and what becomes of an answer. The page and the window are two faces of this.

An item is given to at most `judgments_per_item` people, counting those who answered it and those who hold it. A lease
that expires frees the item; an answer that comes after that, when others have taken its place, is kept in the store's
`late` and not counted. So is one whose lease is lost.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Lock

from feedback_store.errors import ChangedError
from feedback_store.records import Judgment
from feedback_store.store import FeedbackStore, Written
from pipeline.config.collect import CollectConfig
from pipeline.kinds import ScreenSettings
from pipeline.kinds.items import Item
from stages.collect.answering import Answering
from stages.collect.leases import Lease, Leases
from stages.collect.ledger import Ledger
from stages.collect.next_item import NextItem
from stages.collect.question_plan import Plan
from stages.collect.tasks import Accepted, Answer, Progress, Task


class Assignments:
    """One collection's questions, leases and answers.

    Args:
        source: what is stored as the judgments' source: web or tk.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        plan: Plan,
        store: FeedbackStore,
        leases: Leases,
        settings: CollectConfig,
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
        self._open = {item.key: settings.judgments_per_item for item in plan.items}  # answers missing, where any are
        self._update(list(self._open))
        self._next_item = NextItem(plan, self.items, self.ledger, leases, settings, seed, self._open)
        self._storing = Lock()  # held while a write of our own is under way

    def _update(self, keys: Iterable[str]) -> None:
        """Bring the list of items that still need answers up to date."""
        for key in keys:
            if key in self.items and not self.items[key].gold:
                missing = self.settings.judgments_per_item - len(self.ledger.by_item[key])
                if missing > 0:
                    self._open[key] = missing
                else:
                    self._open.pop(key, None)

    def catch_up(self) -> None:
        """Learn what others stored since. While a write of our own is under way, which takes long, that waits for later.

        A store that cannot be read keeps nobody from judging: `write` refuses to add to it and says why, and the answers
        wait where they were given until it is repaired.
        """
        if self._storing.acquire(blocking=False):
            try:
                with suppress(ChangedError):
                    self._update(self.ledger.catch_up())
            finally:
                self._storing.release()

    def task(self, annotator: str, item: Item, occasion: int) -> Task:
        """The item as this annotator sees it; which side is first is a coin that falls the same way each time."""
        text = f"{self.seed}\x1f{annotator}\x1f{item.key}\x1f{occasion}"
        return Task(item, occasion, "ab"[hashlib.sha256(text.encode()).digest()[0] & 1])

    def until(self) -> float:
        """When a lease that is granted now ends."""
        return self.clock() + self.settings.lease_minutes * 60

    def _held_by_others(self, annotator: str) -> dict[str, list[Lease]]:
        """Leases of others who have not answered the item yet (they count by their answer then), by item."""
        held: dict[str, list[Lease]] = {}
        for lease in self.leases.held(self.clock()):
            if lease.annotator != annotator and not self.ledger.by_item[lease.item].get(lease.annotator):
                held.setdefault(lease.item, []).append(lease)
        return held

    def take(self, annotator: str, wanted: int, holding: Sequence[str] = ()) -> list[Task]:
        """Up to `wanted` tasks besides those the annotator holds; all of these are theirs for `lease_minutes`."""
        self.catch_up()
        with self.leases.exclusive():
            others = self._held_by_others(annotator)
            mine = {
                lease.item: lease
                for lease in self.leases.held(self.clock())
                if lease.annotator == annotator and lease.item in self.items and not lease.answer
            }
            unseen = sorted((key for key in mine if key not in holding), key=self._place.__getitem__)
            chosen = [(key, mine[key].occasion) for key in unseen][:wanted]
            taken = {*mine, *holding}
            while len(chosen) < wanted and (found := self._next_item(annotator, others, taken)):
                chosen.append(found)
                taken.add(found[0])
            for key, occasion in [*((key, mine[key].occasion) for key in holding if key in mine), *chosen]:
                self.leases.grant(annotator, key, occasion, self.until())
        return [self.task(annotator, self.items[key], occasion) for key, occasion in chosen]

    def waiting_until(self, annotator: str) -> float | None:
        """When a question that others hold may become free for this annotator; None if none is left to wait for."""
        held = self._held_by_others(annotator)
        times = [
            lease.until
            for key, leases in held.items()
            for lease in leases
            if key in self._open and not self.ledger.by_item[key].get(annotator)
        ]
        return min(times, default=None)

    def skip(self, annotator: str, key: str) -> None:
        """Put an item off: others may have it now, and this annotator gets it again after everything else."""
        with self.leases.exclusive():
            if lease := self.leases.of(annotator, key):
                self.leases.skip(annotator, key, lease.occasion, self.clock())

    def release(self, annotator: str, keys: Sequence[str]) -> None:
        """Give items back unanswered."""
        with self.leases.exclusive():
            self.leases.release(annotator, list(keys), self.clock())

    def check(self, annotator: str, answers: Sequence[Answer]) -> Accepted:
        """Turn answers into judgments, without storing them (`commit` does); their items stay leased until then.

        Raises:
            LeasesError: the leases cannot be read or written; send all of it again.
        """
        answering = Answering(self, annotator)
        with self.leases.exclusive():
            for answer in answers:
                answering.add(answer)
        return answering.accepted

    def has_room(self, annotator: str, item: Item, occasion: int) -> bool:
        """Whether an answer to an item that is not leased to the annotator any more may count."""
        if item.gold or occasion:
            return True
        return len(self._held_by_others(annotator).get(item.key, ())) < self._open.get(item.key, 0)

    def commit(self, judgments: Sequence[Judgment], late: Sequence[Judgment] = ()) -> None:
        """Store judgments durably, then count them.

        Raises:
            FeedbackError: the disk refused, or a file is not what was stored; send the answers again. The items stay with
                those who answered them.
        """
        self.settle(judgments, self.write(judgments, late))

    def write(self, judgments: Sequence[Judgment], late: Sequence[Judgment]) -> Written | None:
        """The slow half of `commit`, which may run in a thread of its own while tasks are taken and answers checked.

        Returns:
            where the judgments are in the store, for `settle`; None without judgments.
        """
        try:
            with self._storing:
                if late:
                    self.store.late.append(late)
                return self.store.write(judgments) if judgments else None
        except Exception:
            with self.leases.exclusive():
                for judgment in judgments:
                    self.leases.reopen(judgment.annotator, judgment.id)
            raise

    def settle(self, judgments: Sequence[Judgment], written: Written | None) -> None:
        """The quick half: count what is stored now, and end its leases. Judgments that are stored are never refused here."""
        if written is None:
            return
        self._update(self.ledger.add(judgments, written))
        with self.leases.exclusive():
            for judgment in judgments:
                if given := self.ledger.given.get(judgment.id):
                    self.leases.done(given.annotator, given.key, judgment.id)

    def progress(self, annotator: str) -> Progress:
        """How far this annotator and everybody together have come."""
        total = len(self.plan.items) * self.settings.judgments_per_item
        answered = self.ledger.by_annotator[annotator]
        left = len(self._open) - len({key for key in answered.values() if key in self._open})
        return Progress(len(answered), left, total - sum(self._open.values()), total)
