"""What passes between a person's page or window and the assignments: tasks out, answers in."""

from __future__ import annotations

from dataclasses import dataclass, field

from feedback_store.records import Judgment
from pipeline.kinds import Screen, ScreenSettings, kinds
from pipeline.kinds.items import Item


@dataclass(frozen=True)
class Task:
    """An item in somebody's hands.

    Attributes:
        occasion: 0 the first time, 1 for the repetition that measures consistency.
        shown_first: the side shown on the left, a or b.
    """

    item: Item
    occasion: int
    shown_first: str

    def screen(self, settings: ScreenSettings) -> Screen:
        """What this annotator sees."""
        return kinds.get(self.item.kind).screen(self.item.subject, self.shown_first, settings)


@dataclass(frozen=True)
class Answer:
    """What a person sends: an answer to an item, or with `retracts` the id of an answer to take back."""

    id: str
    item: str = ""
    answer: str = ""
    response_ms: int | None = None
    created_at: str = ""
    retracts: str = ""


@dataclass(frozen=True)
class Refused:
    """An answer that was not stored, and why; `late` ones are kept aside."""

    id: str
    reason: str
    late: bool = False


@dataclass
class Accepted:
    """Judgments to store, in order, and what cannot be; ids in `known` are on disk already."""

    judgments: list[Judgment] = field(default_factory=list)
    late: list[Judgment] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """Counts for the page: my answers, what is left for me, and all answers of all that are asked for."""

    mine: int
    left: int
    done: int
    total: int
