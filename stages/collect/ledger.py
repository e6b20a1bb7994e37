"""All current answers by item and by annotator, updated from the rows of the store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from feedback_store.audit import base_source
from feedback_store.errors import UnreadableError
from feedback_store.pages import answer_id
from feedback_store.records import NO_ANSWER, Judgment
from feedback_store.retraction import StoredIds
from feedback_store.schemas import schema_of
from feedback_store.store import START, FeedbackStore, Written
from feedback_store.tables import as_row
from pipeline.kinds.items import key_of

TEACHER_SOURCES = ("simulated", "replay")  # their answers do not count as answers of people


@dataclass(frozen=True)
class CurrentAnswer:
    """An answer that was not retracted.

    Attributes:
        key: of its item.
        rows: number of its current rows: one, or those of a page.
    """

    annotator: str
    key: str
    answer: str
    shown_first: str
    rows: int = 1


class Ledger:
    """Current answers by item and by annotator; the rows of a page are one answer (`feedback_store.pages`).

    Attributes:
        current: every current answer by its id.
        taken_back: annotator of every retracted answer, by the answer's id.
        owner: annotator of every row and answer ever stored, by id.
        rows: number of all rows ever stored.
        by_item: for each item's key, the number of current answers of each annotator.
        by_annotator: for each annotator, the items' keys of their current answers by id, in order.
        position: how far the store was read.
    """

    def __init__(self, store: FeedbackStore) -> None:
        self._store = store
        self._of_item: dict[str, set[str]] = defaultdict(set)  # ids in `current` by item
        self._stored = StoredIds()
        self.position = START
        self.current: dict[str, CurrentAnswer] = {}
        self.taken_back: dict[str, str] = {}
        self.owner: dict[str, str] = {}
        self.rows = 0
        self.by_item: dict[str, dict[str, int]] = defaultdict(dict)
        self.by_annotator: dict[str, dict[str, str]] = defaultdict(dict)
        self.catch_up()

    def catch_up(self) -> list[str]:
        """Add rows stored since the last call; returns the keys of the items whose answers changed.

        If rows that were read before are no longer stored (the owner changed a file and accepted that), all rows are read
        again.

        Raises:
            UnreadableError: the store cannot be read now, or another program changed a file; the ledger is unchanged.
        """
        added = self._store.rows_since(self.position)
        changed = self._forget() if added.reset else []
        changed += [key for row in added.rows if (key := self._add_row(row))]
        self.position = added.position
        return changed

    def add(self, judgments: Sequence[Judgment], written: Written) -> list[str]:
        """Add judgments that were just written, even if the store cannot be read any more.

        The store is read only if other processes stored rows before these.

        Returns:
            the keys of all items whose answers changed.
        """
        changed: list[str] = []
        if written.start == self.position:
            self.position = written.end
        else:
            with suppress(UnreadableError):
                changed = self.catch_up()
        return changed + [key for judgment in judgments if (key := self._add_row(as_row(judgment)))]

    def _forget(self) -> list[str]:
        """Clear the ledger; returns the keys of all items that had answers."""
        answered = list(self.by_item)
        for index in (self._of_item, self.current, self.owner, self.by_item, self.by_annotator):
            index.clear()
        self._stored, self.rows = StoredIds(), 0
        return answered

    def _add_row(self, row: Mapping[str, str]) -> str | None:
        """Add a row unless it is known; returns the key of the item whose answers changed, if one did."""
        if row["id"] in self.owner:
            return None
        judgment = answer_id(row["id"])
        self.owner[row["id"]] = self.owner[judgment] = row["annotator"]
        self.rows += 1
        if base_source(row["source"]) in TEACHER_SOURCES:
            return None
        self._stored.learn([row["id"]], [row["retracts"]])
        if row["retracts"]:
            return self._retract(row["retracts"])
        if row["id"] in self._stored.retracted:  # by an earlier row
            self.taken_back[judgment] = row["annotator"]
            return None
        schema, key = schema_of(row), key_of(row)
        if before := self.current.get(judgment):  # another row of the same page
            text, rows = schema.folded(before.answer, row), before.rows + 1
            self.current[judgment] = replace(before, answer=text, rows=rows)
            return None
        answer = CurrentAnswer(row["annotator"], key, schema.folded(None, row), row.get("shown_first", "a"))
        self.current[judgment] = answer
        self._of_item[key].add(judgment)
        self.by_annotator[answer.annotator][judgment] = key
        times = self.by_item[key]
        times[answer.annotator] = times.get(answer.annotator, 0) + 1
        return key

    def _retract(self, row: str) -> str | None:
        judgment = answer_id(row)
        answer = self.current.get(judgment)
        if answer is None or row not in self.owner:
            return None
        if answer.rows > 1:  # a page is answered as long as one of its rows is current
            self.current[judgment] = replace(answer, rows=answer.rows - 1)
            return None
        del self.current[judgment]
        self.taken_back[judgment] = answer.annotator
        del self.by_annotator[answer.annotator][judgment]
        self._of_item[answer.key].remove(judgment)
        times = self.by_item[answer.key]
        times[answer.annotator] -= 1
        if not times[answer.annotator]:
            del times[answer.annotator]
        return answer.key

    def answers(self, key: str, *, besides: str) -> dict[str, int]:
        """Number of each answer to an item by others, without `cant_tell` and `bad_image`."""
        counts: dict[str, int] = {}
        for answer in (self.current[judgment] for judgment in sorted(self._of_item[key])):
            if answer.annotator != besides and answer.answer not in NO_ANSWER:
                counts[answer.answer] = counts.get(answer.answer, 0) + 1
        return counts
