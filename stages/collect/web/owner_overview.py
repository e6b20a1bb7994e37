"""The owner's page: how far everybody is, and the quality of the judgments so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from threading import Lock
from typing import Any

from feedback_store.agreement import as_json
from feedback_store.store import FeedbackStore, Position
from stages.collect.assignments import Assignments
from stages.collect.web.personal_links import Links

FRESH_SECONDS = 3  # the tables are made anew at most this often, however many look


class Overview:
    """Args:
    gold: true class of each image whose class is known, for accuracy on gold items.
    """

    def __init__(self, store: FeedbackStore, gold: Mapping[str, str]) -> None:
        self._store, self._gold = store, gold
        self._made: dict[str, Any] = {}
        self._made_at = 0.0
        self._position: Position | None = None  # how far the store was read for the tables
        self._guard = Lock()

    def quality(self, position: Position) -> dict[str, Any]:
        """The quality tables; made anew when something was judged.

        Args:
            position: one up to which the store has been read by somebody.

        Raises:
            FeedbackError: the store cannot be read.
        """
        with self._guard:
            if time.monotonic() - self._made_at > FRESH_SECONDS:
                stale = self._position is None
                if self._position is not None:
                    added = self._store.rows_since(self._position)
                    position, stale = added.position, added.anew or bool(added.rows)
                if stale:
                    self._made = as_json(self._store.quality(self._gold))
                    self._made_at = time.monotonic()
                self._position = position
            return self._made

    def status(self, assignments: Assignments, links: Links, base_url: str) -> dict[str, Any]:
        """Progress of all and of each annotator, with their links."""
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
        return {
            "done": progress.done,
            "total": progress.total,
            "items": len(assignments.plan.items),
            "each": assignments.settings.judgments_per_item,
            "question": assignments.settings.question,
            "people": people,
        }
