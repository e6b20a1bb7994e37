"""The judgment kind `clip_comparison`: which of two clips is better? Importing this module registers it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor

from feedback_store.records import SIDES
from feedback_store.schemas.base import Row, Subject
from feedback_store.schemas.pair import ImageComparisonSchema
from pipeline.control.clip import PREFIX
from pipeline.errors import UserError
from pipeline.kinds import Choice, KeyHelp, Queries, Screen, ScreenSettings, register_kind
from pipeline.kinds.comparison import PairKind
from pipeline.kinds.items import Item
from pipeline.kinds.queries import spread_over

PAGE = Path(__file__).parent / "clip_page"
LABEL = "better"  # both labels of a stored row


class ClipComparisonSchema(ImageComparisonSchema):
    """Which of two clips is better?"""

    name = "clip_comparison"
    asks = "which of two clips is better"
    prompt = "Which clip is {}?"
    prefix = PREFIX

    def select(self, frame: pd.DataFrame) -> pd.Series:
        return frame["image_a"].str.startswith(self.prefix)

    def owns(self, row: Row) -> bool:
        return row["image_a"].startswith(self.prefix)

    def key_parts(self, subject: Subject) -> list[str]:
        return [self.name, *sorted(subject.images)]


class ClipComparison(PairKind):
    """Two clips side by side, which play at once."""

    name = "clip_comparison"
    schema = ClipComparisonSchema()
    images_compared = 2
    item_name = "clip"
    script = (PAGE / "layout.js").read_text(encoding="utf-8")
    page_files: ClassVar[Mapping[str, str]] = {
        file.name: file.read_text(encoding="utf-8") for file in sorted(PAGE.iterdir()) if file.is_file()
    }

    def draw(self, pool: Tensor, count: int, log_policy: Tensor, random: torch.Generator) -> Queries:
        """Two distinct clips per question, all clips about equally often."""
        if len(pool) < 2:
            raise UserError("collect.question: comparing two clips needs at least two clips to ask about")
        first = spread_over(pool, count, random)
        step = torch.randint(1, len(pool), (count,), generator=random)
        place = {int(row): number for number, row in enumerate(pool)}
        second = pool[(torch.tensor([place[int(row)] for row in first], dtype=torch.long) + step) % len(pool)]
        return Queries(self.name, torch.stack([first, second], dim=1), torch.zeros(count, 1, dtype=torch.long))

    def screen(self, subject: Subject, shown_first: str, settings: ScreenSettings) -> Screen:
        sides = list(zip(SIDES, subject.images, strict=True))
        (left, left_clip), (right, right_clip) = sides if shown_first == SIDES[0] else sides[::-1]
        return Screen(
            "Which clip is better?",
            (left_clip, right_clip),
            (Choice("tie", "Equally good", "tie", secondary=True),),
            (Choice(left, "Left", "first"), Choice(right, "Right", "second")),
        )

    def answer_text(self, answer: str, screen: Screen) -> str:
        return {choice.answer: choice.text for choice in screen.all_choices()}.get(answer, answer)

    def help(self, settings: ScreenSettings) -> list[KeyHelp]:
        return [
            KeyHelp((" ",), "play both clips from the start"),
            KeyHelp(("-", "+"), "slower or faster, from a quarter to four times the speed"),
        ]


CLIP_COMPARISON = register_kind(ClipComparison())


def clip_item(first: str, second: str) -> Item:
    """The question about two clips."""
    return Item(ClipComparison.name, Subject((first, second), (LABEL,)))
