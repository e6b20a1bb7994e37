"""Turn the answers of one request into judgments: to store, late, stored already, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feedback_store.errors import FeedbackError, UnreadableError
from feedback_store.records import NO_ANSWER, Judgment, now
from pipeline.kinds import kinds
from pipeline.kinds.items import Item
from stages.collect.lease_keeper import LeasesError
from stages.collect.tasks import Accepted, Answer, Refused

if TYPE_CHECKING:
    from stages.collect.assignments import Assignments


@dataclass(frozen=True)
class _Fresh:
    """An answer of this request, or one that it retracts."""

    item: Item
    answer: str
    shown_first: str


class Answering:
    """Processes the answers of one annotator's request, in order; the result is in `accepted`.

    An answer to an item of the plan is always stored. Without a lease (the file of leases may be lost) it is treated as if
    the lease had expired; if the item needs no further answer, it is stored as late.
    """

    def __init__(self, assignments: Assignments, annotator: str) -> None:
        self._assignments, self._annotator = assignments, annotator
        self._ledger, self._leases = assignments.ledger, assignments.leases
        self._seen: dict[str, Answer] = {}
        self._fresh: dict[str, _Fresh] = {}
        self._taken_back: set[str] = set()
        self.accepted = Accepted()

    def add(self, answer: Answer) -> None:
        """Process the next answer; the caller holds `leases.exclusive()`.

        Raises:
            LeasesError, UnreadableError: leases or answers cannot be read or written; no answer of the request is accepted.
        """
        try:
            self._add(answer)
        except (LeasesError, UnreadableError):
            raise
        except FeedbackError as error:
            self.accepted.refused.append(Refused(answer.id, str(error)))

    def _add(self, answer: Answer) -> None:
        if earlier := self._seen.get(answer.id):
            if not _same(earlier, answer):
                raise FeedbackError("another answer of this request has this id")
            return
        self._seen[answer.id] = answer
        owner = self._ledger.owner.get(answer.id)
        if owner is not None and owner != self._annotator:
            raise FeedbackError("somebody else's answer has this id")
        if owner is not None:
            if not self._complete(answer):
                self._check_stored(answer)
            self.accepted.known.append(answer.id)
            return
        own = [] if answer.retracts else [(self._annotator, answer.item)]
        if any(pending not in own for pending in self._leases.answered_by(answer.id)):
            raise FeedbackError("another answer has this id")
        if answer.retracts:
            self._retract(answer)
        else:
            self._take(answer)

    def _complete(self, answer: Answer) -> bool:
        """Store the missing rows of a page's answer of which a power cut left some; whether any was missing."""
        stored = self._ledger.current.get(answer.retracts or answer.id)
        item = self._assignments.items.get(stored.key) if stored else None
        if stored is None or item is None or (stored.key != answer.item and not answer.retracts):
            return False
        text, back = (stored.answer, answer.retracts) if answer.retracts else (answer.answer, "")
        common = self._common(answer)
        rows = item.judgments(text, shown_first=stored.shown_first, retracts=back, **common)
        missing = [row for row in rows if row.id not in self._ledger.owner]
        self.accepted.judgments += missing
        return bool(missing)

    def _check_stored(self, answer: Answer) -> None:
        """Raise FeedbackError if another answer is stored under this id."""
        stored = self._ledger.current.get(answer.id)
        if stored and (answer.retracts or (stored.key, stored.answer) != (answer.item, answer.answer)):
            raise FeedbackError("another answer of yours has this id")

    def _take(self, answer: Answer) -> None:
        item = self._assignments.items.get(answer.item)
        if item is None:
            raise FeedbackError("unknown question")
        kind = kinds.get(item.kind)
        if answer.answer not in NO_ANSWER and not kind.is_valid(
            answer.answer, item.subject, self._assignments.screen_settings
        ):
            raise FeedbackError(f"{answer.answer!r} is not a valid answer to this question")
        lease = self._leases.of(self._annotator, item.key)
        times = self._ledger.by_item[item.key].get(self._annotator, 0)
        occasion = lease.occasion if lease else min(times, 1)
        shown_first = self._assignments.task(self._annotator, item, occasion).shown_first
        judgments = item.judgments(answer.answer, shown_first=shown_first, **self._common(answer))
        answered = times > 0 if lease is None else lease.answer not in ("", answer.id)
        in_time = lease is not None and lease.until > self._assignments.clock()
        if answered or not (in_time or self._assignments.room.has_room(self._annotator, item.key, occasion)):
            who = "you" if answered else "others"
            self.accepted.late += judgments
            self.accepted.refused.append(
                Refused(answer.id, f"{who} have answered this question in the meantime", late=True)
            )
            return
        self._leases.grant(self._annotator, item.key, occasion, self._assignments.until(), answer=answer.id)
        self._fresh[answer.id] = _Fresh(item, answer.answer, shown_first)
        self._accept(answer, judgments)

    def _retract(self, answer: Answer) -> None:
        target = answer.retracts
        if target in self._taken_back or self._ledger.taken_back.get(target) == self._annotator:
            self.accepted.known.append(answer.id)  # the answer is retracted already
            return
        stored = self._ledger.current.get(target)
        if target in self._fresh:
            retracted = self._fresh[target]
        elif stored and stored.annotator == self._annotator and stored.key in self._assignments.items:
            retracted = _Fresh(self._assignments.items[stored.key], stored.answer, stored.shown_first)
        else:
            raise FeedbackError("you have no such answer to take back")
        times = self._ledger.by_item[retracted.item.key].get(self._annotator, 0) + (target in self._fresh)
        self._leases.grant(self._annotator, retracted.item.key, 1 if times > 1 else 0, self._assignments.until())
        self._taken_back.add(target)
        judgments = retracted.item.judgments(
            retracted.answer, shown_first=retracted.shown_first, retracts=target, **self._common(answer)
        )
        self._accept(answer, judgments)

    def _accept(self, answer: Answer, judgments: Sequence[Judgment]) -> None:
        self.accepted.judgments += judgments
        self.accepted.taken.append(answer.id)

    def _common(self, answer: Answer) -> dict[str, Any]:
        return {
            "id": answer.id,
            "annotator": self._annotator,
            "source": self._assignments.source,
            "round": self._assignments.round,
            "response_ms": answer.response_ms,
            "created_at": answer.created_at or now(),
        }


def _same(one: Answer, other: Answer) -> bool:
    return (one.item, one.answer, one.retracts) == (other.item, other.answer, other.retracts)
