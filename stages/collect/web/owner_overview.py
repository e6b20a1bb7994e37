"""Data of the owner's page: progress of all annotators, and quality of the judgments."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

from feedback_store.agreement import as_json
from feedback_store.store import FeedbackStore, Position
from pipeline.run.estimate_file import read_estimate, sentence
from stages.collect.assignments import Assignments
from stages.collect.web.personal_links import Links

MIN_REFRESH_SECONDS = 3  # minimum time between two computations of the tables


class Overview:
    """Args:
    gold: true class of each image whose class is known, for accuracy on gold items.
    run: folder of the run, for the accuracy of its newest policy.
    """

    def __init__(self, store: FeedbackStore, gold: Mapping[str, str], run: Path | None = None) -> None:
        self._store, self._gold, self._run = store, gold, run
        self._tables: dict[str, Any] = {}
        self._computed_at = 0.0
        self._position: Position | None = None  # how far the store was read for the tables
        self._guard = Lock()

    def quality(self, position: Position) -> dict[str, Any]:
        """The quality tables, computed again if judgments were stored since.

        Args:
            position: a position up to which the store has been read.

        Raises:
            FeedbackError: the store cannot be read.
        """
        with self._guard:
            if time.monotonic() - self._computed_at > MIN_REFRESH_SECONDS:
                stale = self._position is None
                if self._position is not None:
                    added = self._store.rows_since(self._position)
                    position, stale = added.position, added.reset or bool(added.rows)
                if stale:
                    self._tables = as_json(self._store.quality(self._gold))
                    self._computed_at = time.monotonic()
                self._position = position
            return self._tables

    def status(self, assignments: Assignments, links: Links, base_url: str, live: bool = False) -> dict[str, Any]:
        """Progress of the collection and of each annotator, with their links.

        Args:
            live: whether the page shows what live collection has achieved, in place of the last policy's estimate.
        """
        held = assignments.leases.held(assignments.clock())
        people = [
            {
                "name": link.name,
                "link": base_url.rstrip("/") + link.enter,
                "holding": sum(lease.annotator == link.name for lease in held),
                **asdict(assignments.progress(link.name)),
            }
            for link in links.annotators
        ]
        progress = assignments.progress("")
        estimate = read_estimate(self._run) if self._run else None
        return {
            "done": progress.done,
            "total": progress.total,
            "items": len(assignments.plan.items),
            "each": assignments.settings.judgments_per_item,
            "question": assignments.settings.question,
            "people": people,
            "estimate": sentence(estimate) if estimate and not live else "",
            "live": live,
        }
