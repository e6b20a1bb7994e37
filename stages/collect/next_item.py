"""Choose an annotator's next item: gold items and repetitions in their shares, otherwise the next of the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from pipeline.config.collect import CollectConfig
from pipeline.kinds.items import Item
from pipeline.kinds.page_items import Plan
from stages.collect.lease_keeper import Lease, LeaseKeeper
from stages.collect.ledger import Ledger

MIN_REPEAT_DISTANCE = 10  # answers between an item and its repetition, so that the first is forgotten


@dataclass(frozen=True)
class History:
    """What an annotator was asked: keys of answered items, in order, and of items that they hold now."""

    annotator: str
    answered: list[str]
    taken: set[str]

    @cached_property
    def distinct(self) -> set[str]:
        return set(self.answered)

    @property
    def asked(self) -> int:
        """Number of questions, repetitions included."""
        return len(self.answered) + len(self.taken - self.distinct)

    @property
    def repeated(self) -> int:
        """Number of repetitions among them."""
        return len(self.answered) - len(self.distinct) + len(self.taken & self.distinct)


@dataclass(frozen=True)
class NextItem:
    """Chooses items.

    Attributes:
        items: every item of the plan by its key.
        missing: number of missing answers of each unfinished item of the plan; `Assignments` updates it.
    """

    plan: Plan
    items: Mapping[str, Item]
    ledger: Ledger
    leases: LeaseKeeper
    settings: CollectConfig
    seed: int
    missing: Mapping[str, int]

    def __call__(
        self, annotator: str, others: Mapping[str, Sequence[Lease]], taken: set[str]
    ) -> tuple[str, int] | None:
        """The next item for an annotator and its occasion (1 for a repetition); None if there is none now.

        Args:
            others: leases of others who have not answered the item yet, by item.
            taken: keys of the items that the annotator holds.
        """
        history = History(annotator, list(self.ledger.by_annotator[annotator].values()), taken)
        if key := self.gold(history):
            return key, 0
        if key := self.repetition(history):
            return key, 1
        key = self.fresh(history, others)
        return (key, 0) if key else None

    def several(
        self, annotator: str, count: int, others: Mapping[str, Sequence[Lease]], taken: set[str]
    ) -> list[tuple[str, int]]:
        """The next items, at most `count`; the other arguments are those of `__call__`."""
        found: dict[str, int] = {}
        while len(found) < count and (one := self(annotator, others, taken | found.keys())):
            found[one[0]] = one[1]
        return list(found.items())

    def gold(self, history: History) -> str | None:
        """A gold item that the annotator has not seen, if their share of gold items is too small."""
        seen = history.distinct | history.taken
        gold = sum(self.items[key].gold for key in seen if key in self.items)
        if gold >= self.settings.gold_fraction * (history.asked + 1):
            return None
        return next((item.key for item in self.plan.gold if item.key not in seen), None)

    def repetition(self, history: History) -> str | None:
        """An item that the annotator answered once, some time ago, if their share of repetitions is too small."""
        if history.repeated >= self.settings.repeat_fraction * history.asked - 0.5:
            return None
        once = [
            key
            for key in history.answered[:-MIN_REPEAT_DISTANCE]
            if key in self.items and key not in history.taken and self.ledger.by_item[key][history.annotator] == 1
        ]
        return Random(f"{self.seed} {history.annotator} {history.asked}").choice(once) if once else None

    def fresh(self, history: History, others: Mapping[str, Sequence[Lease]]) -> str | None:
        """The next item of the plan that this annotator can answer; items that they skipped come last."""
        skipped = self.leases.skipped(history.annotator)
        skipped_keys = set(skipped)
        not_skipped = (key for key in self.missing if key not in skipped_keys)
        for key in (*not_skipped, *(key for key in skipped if key in self.missing)):
            if key in history.taken or key in history.distinct:
                continue
            if len(others.get(key, ())) < self.missing[key]:
                return key
        return None
