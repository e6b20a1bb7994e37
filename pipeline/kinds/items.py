"""Item: one question about one or two images, or a page of them, independent of the annotator and of the side shown first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from feedback_store.audit import audit_source, is_audit
from feedback_store.pages import page_row
from feedback_store.records import Judgment
from feedback_store.schemas import schema_of, schemas
from feedback_store.schemas.base import Subject
from pipeline.kinds.queries import Queries


@dataclass(frozen=True)
class Item:
    """A question that is asked.

    Attributes:
        kind: name of the judgment kind.
        subject: its images and labels.
        gold: whether the answer is known; gold items are asked of everybody, in addition to `judgments_per_item`.
        audit: whether its answers measure the policy and are never trained on; another item than the same question otherwise.
    """

    kind: str
    subject: Subject
    gold: bool = False
    audit: bool = False

    @property
    def images(self) -> tuple[str, ...]:
        """Ids of the images to show."""
        return self.subject.images

    @property
    def sides(self) -> list[tuple[str, str]]:
        """Two pairs of image id and label, the second empty if there is one side; of a page, a pair for each image."""
        return schemas.get(self.kind).sides(self.subject)

    @cached_property
    def key(self) -> str:
        """A hash of the question, equal whichever side is shown first; it does not reveal the question."""
        parts = schemas.get(self.kind).key_parts(self.subject)
        text = "\x1f".join(["audit", *parts] if self.audit else parts)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def judgment(self, answer: str, *, shown_first: str = "a", **common: Any) -> Judgment:
        """The record of an answer.

        Raises:
            FeedbackError: the answer is invalid.
        """
        if self.audit:
            common["source"] = audit_source(common["source"])
        return schemas.get(self.kind).record(self.subject, answer, shown_first=shown_first, **common)

    def judgments(self, answer: str, *, id: str, **common: Any) -> Sequence[Judgment]:
        """The rows of an answer: one, or one for each image of a page; they are to be stored together.

        Raises:
            FeedbackError: the answer is invalid.
        """
        if self.audit:
            common["source"] = audit_source(common["source"])
        return schemas.get(self.kind).records(self.subject, answer, page=self.key, id=id, **common)


def item_of(row: Mapping[str, str]) -> Item:
    """The item that a stored row answers; of a page, the row's image alone."""
    schema = schema_of(row)
    return Item(schema.name, schema.subject(row), audit=is_audit(row["source"]))


def key_of(row: Mapping[str, str]) -> str:
    """The key of the item that a stored row answers; of a page's row, the page's."""
    page = page_row(row["id"])
    return page.page if page else item_of(row).key


def items_of(queries: Queries, ids: Sequence[str], classes: Sequence[str]) -> list[Item]:
    """Queries as items, in order; ids: of all images, classes: names of all classes."""
    images = [tuple(ids[row] for row in rows) for rows in queries.rows.tolist()]
    labels = [tuple(classes[label] for label in numbers) for numbers in queries.labels.tolist()]
    return [Item(queries.kind, Subject(*subject)) for subject in zip(images, labels, strict=True)]


def distinct(items: Sequence[Item]) -> list[Item]:
    """Each question once, in the order of first occurrence."""
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.key, item)
    return list(first.values())
