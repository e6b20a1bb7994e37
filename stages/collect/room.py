"""Whether an item still needs an answer: those who answered it and those who hold it count."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from pipeline.kinds.items import Item
from stages.collect.lease_keeper import Lease, LeaseKeeper
from stages.collect.ledger import Ledger


class Room:
    """Args:
    items: every item by its key; shared with the assignments, which add to it.
    each: answers that are asked for, of each item.
    read_rows: brings the ledger up to date.
    """

    def __init__(
        self,
        leases: LeaseKeeper,
        ledger: Ledger,
        items: Mapping[str, Item],
        each: int,
        clock: Callable[[], float],
        read_rows: Callable[[], None],
    ) -> None:
        self._leases, self._ledger, self._items, self._each = leases, ledger, items, each
        self._clock, self._read_rows = clock, read_rows

    def held_by_others(self, annotator: str, items: Collection[str] | None = None) -> dict[str, list[Lease]]:
        """Leases of other annotators on items (default: all) that they have not answered, by item.

        Leases are read before rows: another server ends a lease after its answer is stored, so that one of both is seen.
        """
        held: dict[str, list[Lease]] = {}
        leases = self._leases.held(self._clock(), items=items)
        if not self._leases.locks_all:
            self._read_rows()
        for lease in leases:
            if lease.annotator != annotator and not self._ledger.by_item[lease.item].get(lease.annotator):
                held.setdefault(lease.item, []).append(lease)
        return held

    def has_room(self, annotator: str, key: str, occasion: int) -> bool:
        """Whether an answer without a valid lease still counts; the caller has locked the item."""
        return self._has_room(key, occasion, self.held_by_others(annotator, [key]))

    def locked(self, annotator: str, items: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
        """Lock items; returns those that can be assigned, with their occasions.

        Another server may have assigned an item, or stored an answer to it, since it was chosen.
        """
        keys = self._leases.lock([key for key, _ in items])
        own = self._leases.held(self._clock(), annotator=annotator, items=keys)
        keys -= {lease.item for lease in own if lease.answer}  # the same person's answer from another server
        held = self.held_by_others(annotator, keys)
        return [
            (key, occasion)
            for key, occasion in items
            if key in keys
            and (occasion or annotator not in self._ledger.by_item[key])
            and self._has_room(key, occasion, held)
        ]

    def _has_room(self, key: str, occasion: int, held: Mapping[str, Sequence[Lease]]) -> bool:
        if self._items[key].gold or occasion:
            return True
        return len(held.get(key, ())) < self._each - len(self._ledger.by_item[key])
