"""The judgment kind `text_comparison`: which of two texts is better? Stored as comparisons, with the label "better"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor

from feedback_store.records import SIDES
from feedback_store.schemas.base import Row, Subject
from feedback_store.schemas.pair import PairSchema
from pipeline.errors import UserError
from pipeline.kinds import register_kind
from pipeline.kinds.comparison import PairKind
from pipeline.kinds.queries import Queries
from pipeline.kinds.question_screen import Choice, Screen, ScreenSettings

BETTER = "better"  # the only class: utilities are [N, 1]
PAGE = Path(__file__).parent / "text_page"
PREFIX = "text-"  # of the ids of texts


class TextComparisonSchema(PairSchema):
    """Which of two texts is better?"""

    name = "text_comparison"
    asks = "which of two texts is better"
    varies = "image"  # both sides have the label "better"
    prompt = "Which text is {}?"
    prefix = PREFIX

    def select(self, frame: pd.DataFrame) -> pd.Series:
        return frame["image_a"].str.startswith(PREFIX)

    def owns(self, row: Row) -> bool:
        return row["image_a"].startswith(PREFIX)

    def subject(self, row: Row) -> Subject:
        return Subject((row["image_a"], row["image_b"]), (BETTER,))

    def label_studio_data(self, row: Row, files: Mapping[str, str]) -> dict[str, str]:
        return {"image_a": row["image_a"], "image_b": row["image_b"], "label": BETTER}


class TextComparison(PairKind):
    """Which of two texts is better?"""

    name = "text_comparison"
    schema = TextComparisonSchema()
    images_compared = 2
    item_name = "text"
    enlarges = False
    script = (PAGE / "layout.js").read_text(encoding="utf-8")
    page_files: ClassVar[Mapping[str, str]] = {"texts.css": (PAGE / "texts.css").read_text(encoding="utf-8")}

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        """Pairs of distinct texts: every text is used before one is used again."""
        if len(pool) < 2:
            raise UserError("items: comparing two texts needs at least two of them")
        pairs: list[Tensor] = []
        while sum(map(len, pairs)) < count:
            order = pool[torch.randperm(len(pool), generator=random)]
            pairs.append(order[: len(order) // 2 * 2].view(-1, 2))
        rows = torch.cat(pairs)[:count]
        return Queries(self.name, rows, torch.zeros(count, 1, dtype=torch.long))

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        sides = list(zip(SIDES, subject.images, strict=True))
        (left, left_text), (right, right_text) = sides if shown_first == SIDES[0] else sides[::-1]
        return Screen(
            "Which text is better?",
            (left_text, right_text),
            (Choice("tie", "Equally good", "tie", secondary=True),),
            (Choice(left, "Left", "first"), Choice(right, "Right", "second")),
        )


TEXT_COMPARISON = register_kind(TextComparison())
