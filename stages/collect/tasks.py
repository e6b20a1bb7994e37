"""Data types between the page or window and the assignments: tasks, answers and their results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from feedback_store.pages import answer_id
from feedback_store.records import Judgment
from pipeline.kinds import Screen, ScreenSettings, kinds
from pipeline.kinds.items import Item


@dataclass(frozen=True)
class Task:
    """An item as one annotator is asked it.

    Attributes:
        occasion: 0 the first time, 1 for the repetition that measures consistency.
        shown_first: the side shown on the left, a or b.
    """

    item: Item
    occasion: int
    shown_first: str

    def screen(self, settings: ScreenSettings) -> Screen:
        """The question as this annotator sees it."""
        return kinds.get(self.item.kind).screen(self.item.subject, self.shown_first, settings)


@dataclass(frozen=True)
class Answer:
    """An answer to an item, or with `retracts` the retraction of the answer with that id."""

    id: str
    item: str = ""
    answer: str = ""
    response_ms: int | None = None
    created_at: str = ""
    retracts: str = ""


@dataclass(frozen=True)
class Refused:
    """An answer that does not count, and why; a `late` one is stored, but not counted."""

    id: str
    reason: str
    late: bool = False


@dataclass
class Accepted:
    """Results of a request: judgments to store, late ones, refusals, and ids of answers.

    Attributes:
        taken: of the answers that `judgments` are the rows of.
        known: of answers that are stored already.
    """

    judgments: list[Judgment] = field(default_factory=list)
    late: list[Judgment] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """Counts for the page.

    Attributes:
        mine: answers of this annotator.
        left: questions that this annotator can still answer.
        done: answers of all annotators, at most `total`.
        total: answers that are asked for.
    """

    mine: int
    left: int
    done: int
    total: int


def answers_of(judgments: Iterable[Judgment]) -> list[tuple[str, str]]:
    """Annotator and id of each answer that these rows belong to, once each."""
    return list(dict.fromkeys((judgment.annotator, answer_id(judgment.id)) for judgment in judgments))
