"""Tasks and settings in the form the page is sent them. Names are sent as text, and the page shows them as text only."""

from __future__ import annotations

import hmac
import re
from typing import Any

from torch import Tensor

from pipeline.data.image_table import ImageTable
from pipeline.run import next_command
from stages.collect.assignments import Assignments
from stages.collect.question_text import question_text
from stages.collect.tasks import Task
from stages.collect.web.personal_links import Links

MOST_LIKELY = 3  # classes of the reference's opinion that are shown, where the configuration asks for it


class Presenter:
    """Args:
    log_reference: [N, C] the reference's opinion, shown only if `collect.show_model` says so.
    """

    def __init__(
        self, assignments: Assignments, links: Links, table: ImageTable, classes: tuple[str, ...], log_reference: Tensor
    ) -> None:
        self._assignments, self._links, self._table = assignments, links, table
        self._classes, self._log_reference = classes, log_reference
        self._settings = assignments.settings

    def session(self, annotator: str) -> dict[str, Any]:
        """What stays the same for all questions."""
        return {
            "annotator": annotator,
            "kind": self._settings.question,
            "classes": list(self._classes),
            "levels": self._settings.rating_levels,
            "keys": self._settings.keys.model_dump(),
            "alone": len(self._links.annotators) == 1,
            "next_step": next_command.make("train-reward"),
        }

    def task(self, annotator: str, task: Task) -> dict[str, Any]:
        """One question: what is asked, the images' addresses, and for a comparison its sides, the left one first."""
        item = task.item
        sides = {"a": (item.image_a, item.label_a), "b": (item.image_b, item.label_b)}
        order = [task.shown_first, "b" if task.shown_first == "a" else "a"]
        images = item.images
        if item.kind == "image_comparison":
            images = [sides[side][0] for side in order]
        shown: dict[str, Any] = {
            "key": item.key,
            "kind": item.kind,
            "text": question_text(item),
            "images": [f"images/{self._name(annotator, image)}" for image in images],
            "notes": self._notes(annotator, task),
        }
        if item.is_comparison:
            shown["sides"] = [{"answer": side, "label": sides[side][1]} for side in order]
        return shown

    def _name(self, annotator: str, image: str) -> str:
        return self._links.image_name(annotator, self._table.position[image], image)

    def image_named(self, annotator: str, name: str) -> str | None:
        """The id of the image that has this name for this annotator; None if none has."""
        row = name.partition("-")[0]
        if not re.fullmatch(r"[0-9a-f]{1,8}", row) or int(row, 16) >= len(self._table):
            return None
        image = str(self._table.ids[int(row, 16)])
        return image if hmac.compare_digest(self._name(annotator, image).encode(), name.encode()) else None

    def _notes(self, annotator: str, task: Task) -> list[str]:
        notes = []
        if self._settings.show_others:
            counts = self._assignments.ledger.answers(task.item.key, besides=annotator)
            names = {"a": task.item.label_a, "b": task.item.label_b} if task.item.kind == "comparison" else {}
            given = ", ".join(f"{names.get(answer, answer)} ({count})" for answer, count in counts.items())
            notes.append(f"Others: {given or 'no answer yet'}")
        if self._settings.show_model:
            for image in task.item.images:
                share = self._log_reference[self._table.position[image]].exp()
                top = share.topk(min(MOST_LIKELY, len(self._classes))).indices.tolist()
                notes.append("Model: " + ", ".join(f"{self._classes[n]} {share[n]:.0%}" for n in top))
        return notes
