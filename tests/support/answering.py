"""What people do at the desk that gives out questions and takes answers, for tests."""

from __future__ import annotations

from uuid import uuid4

from stages.collect.assignments import Assignments
from stages.collect.tasks import Accepted, Answer, Task


def give(desk: Assignments, who: str, task: Task, what: str = "a", judgment: str = "") -> Accepted:
    accepted = desk.check(who, [Answer(judgment or uuid4().hex, task.item.key, what, 500)])
    desk.commit(accepted.judgments, accepted.late)
    return accepted


def take_back(desk: Assignments, who: str, judgment: str) -> Accepted:
    accepted = desk.check(who, [Answer(uuid4().hex, retracts=judgment)])
    desk.commit(accepted.judgments)
    return accepted


def rows(desk: Assignments) -> list[dict[str, str]]:
    return desk.store.comparisons().to_dict("records")  # type: ignore[return-value]
