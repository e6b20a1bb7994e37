"""Group commit: concurrent answers share one fsync, and each is acknowledged only after it."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from feedback_store.errors import FeedbackError
from feedback_store.records import Judgment
from feedback_store.store import Written
from stages.collect.assignments import Assignments
from stages.collect.tasks import Accepted

log = logging.getLogger(__name__)


class Committer:
    """Writes batches of answers; while one batch is written, the next one is collected."""

    def __init__(self, assignments: Assignments) -> None:
        self._assignments = assignments
        self._waiting: list[tuple[Accepted, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "committer")

    async def commit(self, accepted: Accepted) -> None:
        """Returns when everything in `accepted` is on disk and counted.

        Raises:
            FeedbackError: writing failed, or another program changed a file; send all answers again.
        """
        if not accepted.judgments and not accepted.late:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((accepted, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        await done

    async def finish(self) -> None:
        """Wait for pending writes; called when the server stops."""
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _drain(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            judgments = [judgment for accepted, _ in batch for judgment in accepted.judgments]
            late = [judgment for accepted, _ in batch for judgment in accepted.late]
            try:
                loop = asyncio.get_running_loop()
                written = await loop.run_in_executor(self._thread, self._assignments.write, judgments, late)
            except Exception as error:
                for _, done in batch:
                    if not done.done():
                        done.set_exception(
                            error if isinstance(error, FeedbackError) else FeedbackError(f"not stored: {error}")
                        )
            else:
                self._settle(judgments, written)
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)

    def _settle(self, judgments: list[Judgment], written: Written | None) -> None:
        """Count stored answers. An error here is only logged, since the answers are stored."""
        try:
            self._assignments.settle(judgments, written)
        except Exception:
            log.exception("answers were stored, but could not be counted; restart the server to count them")
