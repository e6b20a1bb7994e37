"""One message of answers on their way to judgments: which are stored, kept aside as late, known already, or refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feedback_store.errors import FeedbackError
from feedback_store.records import NO_ANSWER, now
from pipeline.kinds import kinds
from pipeline.kinds.items import Item
from stages.collect.leases import LeasesError
from stages.collect.tasks import Accepted, Answer, Refused

if TYPE_CHECKING:
    from stages.collect.assignments import Assignments


@dataclass(frozen=True)
class _Fresh:
    """An answer that this message brought."""

    item: Item
    answer: str
    shown_first: str


class Answering:
    """Takes the answers of one annotator's message, in order; `accepted` is what became of them.

    An answer to an item of the plan is always kept: without a lease (the file of leases may be lost) it counts as if its
    lease had expired, and where there is no room for it, it is late.
    """

    def __init__(self, assignments: Assignments, annotator: str) -> None:
        self._desk, self._annotator = assignments, annotator
        self._ledger, self._leases = assignments.ledger, assignments.leases
        self._seen: dict[str, Answer] = {}
        self._fresh: dict[str, _Fresh] = {}
        self._taken_back: set[str] = set()
        self.accepted = Accepted()

    def add(self, answer: Answer) -> None:
        """Take the next answer; call it inside `leases.exclusive()`.

        Raises:
            LeasesError: the leases cannot be read or written; nothing of the message is taken.
        """
        try:
            self._add(answer)
        except LeasesError:
            raise
        except FeedbackError as error:
            self.accepted.refused.append(Refused(answer.id, str(error)))

    def _add(self, answer: Answer) -> None:
        if earlier := self._seen.get(answer.id):
            if not _same(earlier, answer):
                raise FeedbackError("another answer of this message has this id")
            return
        self._seen[answer.id] = answer
        owner = self._ledger.owner.get(answer.id)
        if owner is not None and owner != self._annotator:
            raise FeedbackError("somebody else's answer has this id")
        if owner is not None:
            self._is_stored(answer)
            self.accepted.known.append(answer.id)
            return
        own = [] if answer.retracts else [(self._annotator, answer.item)]
        if any(on_its_way not in own for on_its_way in self._leases.answered_by(answer.id)):
            raise FeedbackError("another answer has this id")
        if answer.retracts:
            self._retract(answer)
        else:
            self._take(answer)

    def _is_stored(self, answer: Answer) -> None:
        """Raises: FeedbackError, what is stored under this id is another answer."""
        given = self._ledger.given.get(answer.id)
        if given and (answer.retracts or (given.key, given.answer) != (answer.item, answer.answer)):
            raise FeedbackError("another answer of yours has this id")

    def _take(self, answer: Answer) -> None:
        item = self._desk.items.get(answer.item)
        if item is None:
            raise FeedbackError("unknown question")
        valid = kinds.get(item.kind).answers(self._desk.screen_settings)
        if answer.answer not in (*valid, *NO_ANSWER):
            raise FeedbackError(f"{answer.answer!r} is no answer to this question")
        lease = self._leases.of(self._annotator, item.key)
        times = self._ledger.by_item[item.key].get(self._annotator, 0)
        occasion = lease.occasion if lease else min(times, 1)
        shown_first = self._desk.task(self._annotator, item, occasion).shown_first
        judgment = item.judgment(answer.answer, shown_first=shown_first, **self._common(answer))
        answered = times > 0 if lease is None else lease.answer not in ("", answer.id)
        in_time = lease is not None and lease.until > self._desk.clock()
        if answered or not (in_time or self._desk.has_room(self._annotator, item, occasion)):
            who = "you" if answered else "others"
            self.accepted.late.append(judgment)
            self.accepted.refused.append(Refused(answer.id, f"{who} have answered this question meanwhile", late=True))
            return
        self._leases.grant(self._annotator, item.key, occasion, self._desk.until(), answer.id)
        self._fresh[answer.id] = _Fresh(item, answer.answer, shown_first)
        self.accepted.judgments.append(judgment)

    def _retract(self, answer: Answer) -> None:
        target = answer.retracts
        if target in self._taken_back or self._ledger.taken_back.get(target) == self._annotator:
            self.accepted.known.append(answer.id)  # what it asks for is done
            return
        given = self._ledger.given.get(target)
        if target in self._fresh:
            taken = self._fresh[target]
        elif given and given.annotator == self._annotator and given.key in self._desk.items:
            taken = _Fresh(self._desk.items[given.key], given.answer, given.shown_first)
        else:
            raise FeedbackError("there is no such answer of yours to take back")
        times = self._ledger.by_item[taken.item.key].get(self._annotator, 0) + (target in self._fresh)
        self._leases.grant(self._annotator, taken.item.key, 1 if times > 1 else 0, self._desk.until())
        self._taken_back.add(target)
        judgment = taken.item.judgment(
            taken.answer, shown_first=taken.shown_first, retracts=target, **self._common(answer)
        )
        self.accepted.judgments.append(judgment)

    def _common(self, answer: Answer) -> dict[str, Any]:
        return {
            "id": answer.id,
            "annotator": self._annotator,
            "source": self._desk.source,
            "response_ms": answer.response_ms,
            "created_at": answer.created_at or now(),
        }


def _same(one: Answer, other: Answer) -> bool:
    return (one.item, one.answer, one.retracts) == (other.item, other.answer, other.retracts)
