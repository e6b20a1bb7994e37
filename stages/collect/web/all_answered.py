"""When a page whose command goes on by itself may end: all is answered, and nobody has changed anything for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

from stages.collect.assignments import Assignments

QUIET_SECONDS = 4.0  # after the last answer, to see that it was saved or to take it back


class AllAnswered:
    """True once every question has had all its answers for `QUIET_SECONDS`."""

    def __init__(self, assignments: Assignments, clock: Callable[[], float] = time.monotonic) -> None:
        self._assignments, self._clock = assignments, clock
        self._since: float | None = None
        self._rows = -1

    def __call__(self) -> bool:
        rows = self._assignments.ledger.rows
        if not self._assignments.all_answered:
            self._since = None
        elif self._since is None or rows != self._rows:
            self._since = self._clock()
        self._rows = rows
        return self._since is not None and self._clock() - self._since >= QUIET_SECONDS
