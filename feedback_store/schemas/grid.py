"""Schema of the grid question: which images of a page are not of its class? One row per image, marked or unmarked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from feedback_store.errors import FeedbackError, shown
from feedback_store.pages import page_answer, page_row, read_page_answer, row_id
from feedback_store.records import NO_ANSWER, PerImage
from feedback_store.schemas.base import LabelCount, Problem, Row, Subject
from feedback_store.schemas.per_image import OneLabelSchema

MARKED, UNMARKED = "marked", "unmarked"
TILE_ANSWERS = (MARKED, UNMARKED)


class GridSchema(OneLabelSchema):
    """An image of a page, under the page's class: `marked` as an exception, or left `unmarked`.

    `response_ms`, the time for the whole page, is in the row of the first image; it is empty in the others.
    """

    name = "grid"
    asks = "which images of a page are not of its class"

    def record(self, subject: Subject, answer: str, *, shown_first: str = "a", **common: Any) -> PerImage:
        """The row of an image that was judged alone: a page of one."""
        if len(subject.images) > 1:
            raise FeedbackError(f"a page of {len(subject.images)} images is stored as several rows")
        return super().record(subject, answer, shown_first=shown_first, **common)

    def records(
        self,
        subject: Subject,
        answer: str,
        *,
        page: str,
        id: str,
        retracts: str = "",
        response_ms: int | None = None,
        **common: Any,
    ) -> list[PerImage]:
        if answer in NO_ANSWER:
            label, cells = subject.labels[0], [answer] * len(subject.images)
        else:
            try:
                label, marked = read_page_answer(answer)
            except ValueError as error:
                raise FeedbackError(f"answer is {shown(answer)}; it must be like 3,7:class") from error
            if marked and marked[-1] >= len(subject.images):
                raise FeedbackError(f"answer is {shown(answer)}; the page has {len(subject.images)} images")
            cells = [MARKED if place in set(marked) else UNMARKED for place in range(len(subject.images))]
        return [
            super(GridSchema, self).record(
                Subject((image,), (label,)),
                cell,
                id=row_id(id, page, place),
                retracts=row_id(retracts, page, place) if retracts else "",
                response_ms=None if place else response_ms,
                **common,
            )
            for place, (image, cell) in enumerate(zip(subject.images, cells, strict=True))
        ]

    def folded(self, before: str | None, row: Row) -> str:
        place = page_row(row["id"])
        if place is None or row["answer"] in NO_ANSWER:
            return row["answer"]
        marked = set(read_page_answer(before)[1]) if before and before not in NO_ANSWER else set()
        return page_answer(row["label"], marked | ({place.place} if row["answer"] == MARKED else set()))

    def sides(self, subject: Subject) -> list[tuple[str, str]]:
        """A pair of image and class for every image of the page."""
        return [(image, subject.labels[0]) for image in subject.images]

    def problems(self, frame: pd.DataFrame) -> Iterator[Problem]:
        yield from super().problems(frame)
        answers = (*TILE_ANSWERS, *NO_ANSWER)
        yield Problem("answer", frame["answer"].isin(answers), f"it must be one of {', '.join(answers)}")

    def check(self, judgment: PerImage) -> None:
        super().check(judgment)
        answers = (*TILE_ANSWERS, *NO_ANSWER)
        if judgment.answer not in answers:
            raise FeedbackError(f"answer is {shown(judgment.answer)}; it must be one of {', '.join(answers)}")

    def label_problems(self, frame: pd.DataFrame, classes: Collection[str]) -> Iterator[Problem]:
        yield Problem("label", frame["label"].isin(classes), "")

    def correct(self, frame: pd.DataFrame, truth: pd.Series) -> pd.Series:
        right = np.where(truth == frame["label"], UNMARKED, MARKED)
        return (frame["answer"] == right).astype(float).where(truth.notna())

    def label_counts(self, frame: pd.DataFrame) -> list[LabelCount]:
        marked = frame.loc[frame["answer"] == MARKED, "label"]
        return [
            LabelCount("on_pages", "On pages of the class", frame["label"]),
            LabelCount("marked", "Marked as exceptions", marked),
        ]

    def label_studio_config(self, answers: Sequence[str]) -> str:
        return super().label_studio_config(TILE_ANSWERS)

    def reads_choice(self, control: str, answer: str, data: Mapping[str, Any]) -> bool:
        return super().reads_choice(control, answer, data) or (answer in TILE_ANSWERS and "label" in data)


GRID = GridSchema()
