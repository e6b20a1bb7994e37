"""Item: one question about one or two images, whoever is asked and whichever side is shown first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from feedback_store.records import Judgment
from feedback_store.schemas import schema_of, schemas
from feedback_store.schemas.base import Subject
from pipeline.kinds.queries import Queries


@dataclass(frozen=True)
class Item:
    """A question that is asked.

    Attributes:
        kind: name of the judgment kind.
        subject: images and labels it is about.
        gold: mixed in because the answer is known; asked of everybody, beyond `judgments_per_item`.
    """

    kind: str
    subject: Subject
    gold: bool = False

    @property
    def images(self) -> tuple[str, ...]:
        """Ids of the images to show."""
        return self.subject.images

    @property
    def sides(self) -> list[tuple[str, str]]:
        """What it is about as two pairs of image id and label; the second is empty where there is one side."""
        return schemas.get(self.kind).sides(self.subject)

    @cached_property
    def key(self) -> str:
        """The same for the same question, with either side first; tells nobody what the question is."""
        text = "\x1f".join(schemas.get(self.kind).key_parts(self.subject))
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def judgment(self, answer: str, *, shown_first: str = "a", **common: Any) -> Judgment:
        """The record of an answer.

        Raises:
            FeedbackError: the answer is invalid.
        """
        return schemas.get(self.kind).record(self.subject, answer, shown_first=shown_first, **common)


def item_of(row: Mapping[str, str]) -> Item:
    """The item that a stored row answers."""
    schema = schema_of(row)
    return Item(schema.name, schema.subject(row))


def items_of(queries: Queries, ids: Sequence[str], classes: Sequence[str]) -> list[Item]:
    """Queries as items, in order; ids: of all images, classes: names of all classes."""
    images = [tuple(ids[row] for row in rows) for rows in queries.rows.tolist()]
    labels = [tuple(classes[label] for label in of) for of in queries.labels.tolist()]
    return [Item(queries.kind, Subject(*about)) for about in zip(images, labels, strict=True)]


def distinct(items: Sequence[Item]) -> list[Item]:
    """Each question once, in order of its first appearance."""
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.key, item)
    return list(first.values())
