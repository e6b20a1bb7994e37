"""Live collection on the page: the training process, the queues it makes, and what the pages show of it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from pipeline.run.workspace import Workspace
from stages.collect.assignments import Assignments
from stages.collect.live_queue import QueueWatcher
from stages.collect.web.live_routes import LiveStatus
from stages.collect.web.training_process import TrainingProcess


class Live:
    """A context in which the training process runs, and new queues reach the assignments.

    Args:
        assignments: adopt the queues of earlier sessions at once.
        command: of the training process.
    """

    def __init__(self, ws: Workspace, assignments: Assignments, command: Sequence[str]) -> None:
        folder = ws.run.path / "rounds"
        self.process = TrainingProcess(command, ws.config)
        self.status = LiveStatus(folder / "progress.json", self.process)
        self._queues = QueueWatcher(folder)
        for queue in self._queues.earlier():
            assignments.adopt(queue)
        assignments.new_queue = self._queues.take

    def __enter__(self) -> Live:
        self._queues.start()
        self.process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._queues.stop()
        self.process.stop()
