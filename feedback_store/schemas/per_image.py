"""Schemas of questions about one image: label choice, verdict and rating."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from xml.sax.saxutils import quoteattr

import numpy as np
import pandas as pd

from feedback_store import limits
from feedback_store.errors import FeedbackError, shown
from feedback_store.records import NO_ANSWER, VERDICTS, PerImage
from feedback_store.schemas.base import LabelCount, Problem, Row, Schema, Subject

if TYPE_CHECKING:
    from feedback_store.exchange.common import Names


class PerImageSchema(Schema):
    """A question about one image, with any number of labels; answers are texts.

    Attributes:
        several: whether it asks about several labels. The cell `label` is then a JSON list; otherwise it is the label, or
            empty if the question has none.
    """

    table = "per_image"
    answer_column = "answer"
    several: ClassVar[bool] = False

    def select(self, frame: pd.DataFrame) -> pd.Series:
        return frame["question"] == self.name

    def owns(self, row: Row) -> bool:
        return row["question"] == self.name

    def label_cell(self, labels: Sequence[str]) -> str:
        """The labels asked about as one cell."""
        return json.dumps(list(labels), ensure_ascii=False) if self.several else "".join(labels)

    def labels_in(self, cell: str) -> tuple[str, ...]:
        """The labels asked about, from their cell."""
        if not self.several:
            return (cell,) if cell else ()
        try:
            labels = json.loads(cell)
        except ValueError:
            labels = None
        if isinstance(labels, list) and labels and all(isinstance(label, str) for label in labels):
            return tuple(labels)
        return (cell,)  # not a list: an unknown label

    def record(self, subject: Subject, answer: str, *, shown_first: str = "a", **common: Any) -> PerImage:
        label = self.label_cell(subject.labels)
        return PerImage(image=subject.images[0], question=self.name, label=label, answer=answer, **common)

    def subject(self, row: Row) -> Subject:
        return Subject((row["image"],), self.labels_in(row["label"]))

    def sides(self, subject: Subject) -> list[tuple[str, str]]:
        return [(subject.images[0], self.label_cell(subject.labels)), ("", "")]

    def label_problems(self, frame: pd.DataFrame, classes: Collection[str]) -> Iterator[Problem]:
        if not self.several:
            yield Problem("label", frame["label"].isin(classes) | (frame["label"] == ""), "")
            return
        known = set(classes)
        fits = [known.issuperset(self.labels_in(cell)) for cell in frame["label"]]
        yield Problem("label", pd.Series(fits, index=frame.index, dtype=bool), "")

    def correct(self, frame: pd.DataFrame, truth: pd.Series) -> pd.Series:
        """[rows] 1 or 0, NaN where the right answer is unknown; truth: [rows] true class, NaN where it is unknown."""
        return pd.Series(np.nan, index=frame.index)

    def answers(self, frame: pd.DataFrame, gold: Mapping[str, str]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "item": frame["image"] + "\x1f" + frame["label"],
                "value": frame["answer"],
                "correct": self.correct(frame, frame["image"].map(gold)),
                "first": np.nan,
            },
            index=frame.index,
        )

    def label_studio_config(self, answers: Sequence[str]) -> str:
        return self._config(answers, about='  <Text name="about" value="$label"/>\n')

    def _config(self, answers: Sequence[str], about: str = "", control: str = "") -> str:
        choices = "".join(f"<Choice value={quoteattr(answer)}/>" for answer in (*answers, *NO_ANSWER))
        return (
            f'<View>\n  <Image name="image" value="$image"/>\n{about}{control}'
            f'  <Choices name="{self.name}_choice" toName="image" choice="single">{choices}</Choices>\n</View>\n'
        )

    def label_studio_data(self, row: Row, files: Mapping[str, str]) -> dict[str, str]:
        return {"image": files.get(row["image"], row["image"]), "label": row["label"]}

    def label_studio_result(self, row: Row) -> dict[str, Any]:
        value = {"choices": [row["answer"]]}
        return {"from_name": f"{self.name}_choice", "to_name": "image", "type": "choices", "value": value}

    def reads_choice(self, control: str, answer: str, data: Mapping[str, Any]) -> bool:
        return control == f"{self.name}_choice"

    def import_cells(self, label: str, answer: str, names: Names) -> tuple[str, str]:
        """Cells `label` and `answer` of another program's row, with class names checked.

        Raises:
            FeedbackError: unknown class.
        """
        return self.label_cell([names.label(name) for name in self.labels_in(label) or ("",)]), answer


class LabelSchema(PerImageSchema):
    """Which class is the image? The answer is a class."""

    name = "label"
    asks = "which class is this image"

    def subject(self, row: Row) -> Subject:
        return Subject((row["image"],))  # a label choice has no label to ask about

    def label_problems(self, frame: pd.DataFrame, classes: Collection[str]) -> Iterator[Problem]:
        yield from super().label_problems(frame, classes)
        yield Problem("answer", frame["answer"].isin(classes) | frame["answer"].isin(NO_ANSWER), "")

    def correct(self, frame: pd.DataFrame, truth: pd.Series) -> pd.Series:
        return (frame["answer"] == truth).astype(float).where(truth.notna())

    def answers(self, frame: pd.DataFrame, gold: Mapping[str, str]) -> pd.DataFrame:
        return super().answers(frame, gold).assign(item=frame["image"] + "\x1f")

    def label_counts(self, frame: pd.DataFrame) -> list[LabelCount]:
        return [LabelCount("chosen", "Chosen as the class", frame["answer"][~frame["answer"].isin(NO_ANSWER)])]

    def label_studio_config(self, answers: Sequence[str]) -> str:
        return self._config(answers)

    def label_studio_data(self, row: Row, files: Mapping[str, str]) -> dict[str, str]:
        return {"image": files.get(row["image"], row["image"])}

    def reads_choice(self, control: str, answer: str, data: Mapping[str, Any]) -> bool:
        return True  # called last: a choice that no other kind reads is a class

    def import_cells(self, label: str, answer: str, names: Names) -> tuple[str, str]:
        return label, answer if answer in NO_ANSWER else names.label(answer)


class OneLabelSchema(PerImageSchema):
    """A question about one image and one label."""

    def problems(self, frame: pd.DataFrame) -> Iterator[Problem]:
        yield Problem("label", frame["label"] != "", "the label asked about is missing")

    def check(self, judgment: PerImage) -> None:
        if not judgment.label:
            raise FeedbackError("label is empty")


class VerdictSchema(OneLabelSchema):
    """Is a label right for the image? The answer is yes or no."""

    name = "verdict"
    asks = "is this label right"

    def problems(self, frame: pd.DataFrame) -> Iterator[Problem]:
        yield from super().problems(frame)
        answers = (*VERDICTS, *NO_ANSWER)
        yield Problem("answer", frame["answer"].isin(answers), f"a verdict is one of {', '.join(answers)}")

    def check(self, judgment: PerImage) -> None:
        super().check(judgment)
        answers = (*VERDICTS, *NO_ANSWER)
        if judgment.answer not in answers:
            raise FeedbackError(f"answer is {shown(judgment.answer)}; it must be one of {', '.join(answers)}")

    def correct(self, frame: pd.DataFrame, truth: pd.Series) -> pd.Series:
        right = np.where(truth == frame["label"], "yes", "no")
        return (frame["answer"] == right).astype(float).where(truth.notna())

    def label_counts(self, frame: pd.DataFrame) -> list[LabelCount]:
        yes = frame.loc[frame["answer"] == "yes", "label"]
        return [LabelCount("verdicts", "Verdicts", frame["label"]), LabelCount("yes", "Yes", yes)]

    def label_studio_config(self, answers: Sequence[str]) -> str:
        return super().label_studio_config(VERDICTS)

    def reads_choice(self, control: str, answer: str, data: Mapping[str, Any]) -> bool:
        return super().reads_choice(control, answer, data) or (answer in VERDICTS and "label" in data)


class RatingSchema(OneLabelSchema):
    """How well does a label fit the image? The answer is a whole number from 1."""

    name = "rating"
    asks = "how well does this label fit"
    scale = "ordinal"

    def problems(self, frame: pd.DataFrame) -> Iterator[Problem]:
        yield from super().problems(frame)
        valid = frame["answer"].isin(NO_ANSWER) | frame["answer"].str.fullmatch(limits.RATING)
        yield Problem("answer", valid, limits.A_RATING)

    def check(self, judgment: PerImage) -> None:
        super().check(judgment)
        if judgment.answer not in NO_ANSWER and not re.fullmatch(limits.RATING, judgment.answer):
            raise FeedbackError(f"answer is {shown(judgment.answer)}; {limits.A_RATING}")

    def label_counts(self, frame: pd.DataFrame) -> list[LabelCount]:
        return [LabelCount("rated", "Ratings", frame["label"])]

    def label_studio_config(self, answers: Sequence[str]) -> str:
        about = '  <Text name="about" value="$label"/>\n'
        return self._config((), about, '  <Rating name="rating" toName="image" maxRating="99"/>\n')

    def label_studio_result(self, row: Row) -> dict[str, Any]:
        if row["answer"] in NO_ANSWER:
            return super().label_studio_result(row)
        return {"from_name": "rating", "to_name": "image", "type": "rating", "value": {"rating": int(row["answer"])}}

    def reads_tag(self, tag: str) -> bool:
        return tag == "rating"


LABEL, VERDICT, RATING = LabelSchema(), VerdictSchema(), RatingSchema()
