"""Item: one question about one or two images, and the judgments that answer it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from feedback_store.records import Comparison, Judgment, PerImage
from pipeline.config.base import Question
from stages.collect.queries import Queries


@dataclass(frozen=True)
class Item:
    """What is asked, whoever is asked and whichever side is shown first.

    Attributes:
        kind: comparison (two labels of one image), image_comparison (two images, one label), label, verdict or rating.
        image_a, label_a: the first side, or what a question about one image is about; label_a is empty for `label`.
        image_b, label_b: the second side of a comparison; empty otherwise.
        gold: mixed in because the answer is known; asked of everybody, beyond `judgments_per_item`.
    """

    kind: Question
    image_a: str
    label_a: str = ""
    image_b: str = ""
    label_b: str = ""
    gold: bool = False

    @property
    def is_comparison(self) -> bool:
        return self.kind in ("comparison", "image_comparison")

    @property
    def images(self) -> list[str]:
        """The images to show: one, or two."""
        return [self.image_a, self.image_b] if self.kind == "image_comparison" else [self.image_a]

    @cached_property
    def key(self) -> str:
        """The same for the same question, with either side first; tells nobody what the question is."""
        sides = sorted([(self.image_a, self.label_a), (self.image_b, self.label_b)])
        kind = "comparison" if self.is_comparison else self.kind
        text = "\x1f".join([kind, *(part for side in sides for part in side)])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def judgment(self, answer: str, *, shown_first: str = "a", **common: Any) -> Judgment:
        """The record of an answer: `a`, `b`, `tie` for comparisons, a class, `yes` or `no`, a number; or no answer.

        Raises:
            FeedbackError: the answer is none to this question.
        """
        if self.is_comparison:
            return Comparison(
                image_a=self.image_a,
                label_a=self.label_a,
                image_b=self.image_b,
                label_b=self.label_b,
                choice=answer,
                shown_first=shown_first,
                **common,
            )
        return PerImage(image=self.image_a, question=self.kind, label=self.label_a, answer=answer, **common)


def item_of(row: Mapping[str, str]) -> Item:
    """The item a stored row answers."""
    if "choice" in row:
        kind: Question = "comparison" if row["image_a"] == row["image_b"] else "image_comparison"
        return Item(kind, row["image_a"], row["label_a"], row["image_b"], row["label_b"])
    label = "" if row["question"] == "label" else row["label"]
    return Item(row["question"], row["image"], label)  # type: ignore[arg-type]


def items_of(queries: Queries, ids: Sequence[str], classes: Sequence[str]) -> list[Item]:
    """Queries as items, in order; image ids and class names by their numbers."""

    def named(names: Sequence[str], numbers: Tensor) -> list[str]:
        return [names[number] if number >= 0 else "" for number in numbers.tolist()]

    sides = (named(ids, queries.rows_a), named(classes, queries.label_a), named(ids, queries.rows_b))
    return [Item(queries.kind, *side) for side in zip(*sides, named(classes, queries.label_b), strict=True)]


def distinct(items: Sequence[Item]) -> list[Item]:
    """Each question once, in order of its first appearance."""
    first: dict[str, Item] = {}
    for item in items:
        first.setdefault(item.key, item)
    return list(first.values())
