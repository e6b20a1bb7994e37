"""The owner's page: how far everybody is, and the quality of the judgments so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from threading import Lock
from typing import Any

from feedback_store.agreement import as_json, quality
from feedback_store.csv_store.store import FeedbackStore
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
        self._at, self._sizes = 0.0, tuple[int, ...]()
        self._guard = Lock()

    def quality(self) -> dict[str, Any]:
        """The quality tables; made anew when something was judged."""
        with self._guard:
            sizes = tuple(file.stat().st_size for file in self._store.files)
            if sizes != self._sizes and time.monotonic() - self._at > FRESH_SECONDS:
                pairs, per_image = self._store.comparisons(), self._store.per_image_judgments()
                self._made = as_json(quality(pairs, per_image, self._gold))
                self._at, self._sizes = time.monotonic(), sizes
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
