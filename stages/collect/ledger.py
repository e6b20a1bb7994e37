"""What has been answered so far, by whom: a fold over the stored rows, kept up with what others add."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from feedback_store.errors import ChangedError
from feedback_store.records import NO_ANSWER, Judgment
from feedback_store.retraction import StoredIds
from feedback_store.schemas import schema_of
from feedback_store.store import START, FeedbackStore, Written
from feedback_store.tables import as_row
from pipeline.kinds.items import item_of

STAND_INS = ("simulated", "replay")  # their answers answer no question for people


@dataclass(frozen=True)
class Given:
    """An answer that stands."""

    annotator: str
    key: str
    answer: str
    shown_first: str


class Ledger:
    """Standing answers by item and by annotator.

    Attributes:
        given: every standing answer by its id.
        taken_back: annotator of every answer that was taken back, by the answer's id.
        owner: annotator of every row ever stored, by id.
        by_item: for each item's key, how often each annotator has answered it.
        by_annotator: for each annotator, the items' keys of their standing answers by id, in order.
        position: how far the store was read.
    """

    def __init__(self, store: FeedbackStore) -> None:
        self._store = store
        self._of_item: dict[str, set[str]] = defaultdict(set)  # ids of the answers in `given`
        self._stored = StoredIds()
        self.position = START
        self.given: dict[str, Given] = {}
        self.taken_back: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.by_item: dict[str, dict[str, int]] = defaultdict(dict)
        self.by_annotator: dict[str, dict[str, str]] = defaultdict(dict)
        self.catch_up()

    def catch_up(self) -> list[str]:
        """Fold in rows stored since the last look; returns the keys of the items they are about.

        Where rows that were folded in are no longer stored (their owner changed a file and accepted that), all rows are
        folded anew.

        Raises:
            ChangedError: a file is not what was stored; what was folded in so far stands.
        """
        added = self._store.rows_since(self.position)
        changed = self._forget() if added.anew else []
        changed += [key for row in added.rows if (key := self._fold(row))]
        self.position = added.position
        return changed

    def add(self, judgments: Sequence[Judgment], written: Written) -> list[str]:
        """Fold in judgments that were just written, whether or not the store can be read any more.

        The store is read only if others stored something before them.

        Returns:
            the keys of all items whose answers changed.
        """
        changed: list[str] = []
        if written.start == self.position:
            self.position = written.end
        else:
            with suppress(ChangedError):
                changed = self.catch_up()
        return changed + [key for judgment in judgments if (key := self._fold(as_row(judgment)))]

    def _forget(self) -> list[str]:
        """Start anew; returns the keys of all items that had answers."""
        answered = list(self.by_item)
        for known in (self._of_item, self.given, self.owner, self.by_item, self.by_annotator):
            known.clear()
        self._stored = StoredIds()
        return answered

    def _fold(self, row: Mapping[str, str]) -> str | None:
        if row["id"] in self.owner:
            return None
        self.owner[row["id"]] = row["annotator"]
        if row["source"] in STAND_INS:
            return None
        self._stored.learn([row["id"]], [row["retracts"]])
        if row["retracts"]:
            return self._take_back(row["retracts"])
        if row["id"] in self._stored.retracted:  # by a row above it
            self.taken_back[row["id"]] = row["annotator"]
            return None
        key = item_of(row).key
        given = Given(row["annotator"], key, schema_of(row).answer(row), row.get("shown_first", "a"))
        self.given[row["id"]] = given
        self._of_item[key].add(row["id"])
        self.by_annotator[given.annotator][row["id"]] = key
        times = self.by_item[key]
        times[given.annotator] = times.get(given.annotator, 0) + 1
        return key

    def _take_back(self, judgment: str) -> str | None:
        given = self.given.pop(judgment, None)
        if given is None:
            return None
        self.taken_back[judgment] = given.annotator
        del self.by_annotator[given.annotator][judgment]
        self._of_item[given.key].remove(judgment)
        times = self.by_item[given.key]
        times[given.annotator] -= 1
        if not times[given.annotator]:
            del times[given.annotator]
        return given.key

    def answers(self, key: str, *, besides: str) -> dict[str, int]:
        """How often each answer was given to an item by others; `cant_tell` and `bad_image` are none."""
        counts: dict[str, int] = {}
        for given in (self.given[judgment] for judgment in sorted(self._of_item[key])):
            if given.annotator != besides and given.answer not in NO_ANSWER:
                counts[given.answer] = counts.get(given.answer, 0) + 1
        return counts
