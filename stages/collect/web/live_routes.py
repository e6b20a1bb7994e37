"""Routes of live collection: what the answers have achieved so far, for people who answer and for the owner."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter

from pipeline.run.atomic_files import Damaged, read_object
from stages.collect.web.access import Access
from stages.collect.web.training_process import TrainingProcess

NOTHING_YET = "Nothing was trained yet; the first training needs a few more answers."


@dataclass
class LiveStatus:
    """progress.json of the training process, read again when it changes, and whether the process runs.

    Attributes:
        path: of the file.
    """

    path: Path
    process: TrainingProcess
    _stamp: tuple[int, int] = (0, 0)
    _content: dict[str, Any] = field(default_factory=dict)

    def read(self, *, by_class: bool = False) -> dict[str, Any]:
        """The content for a page.

        Args:
            by_class: with the table by class, which is for the owner.
        """
        try:
            status = self.path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                self._content, self._stamp = read_object(self.path, "rounds", "sentences", "state"), stamp
        except (OSError, Damaged):
            self._content = {}  # it is written again with the next round
        content = self._content or {"rounds": [], "sentences": [NOTHING_YET], "advice": "not known yet", "state": {}}
        shown = {key: value for key, value in content.items() if by_class or key != "classes"}
        return shown | {"process": self.process.message}


def live_routes(status: LiveStatus, access: Access) -> APIRouter:
    """`/judge/{slug}/live` and `/owner/{slug}/live`."""
    routes = APIRouter()

    @routes.get("/judge/{slug}/live", dependencies=[access.annotator])
    async def of_annotators() -> dict[str, Any]:
        return status.read()

    @routes.get("/owner/{slug}/live", dependencies=[access.owner])
    async def of_owner() -> dict[str, Any]:
        return status.read(by_class=True)

    return routes
