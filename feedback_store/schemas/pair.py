"""Schemas of comparisons: two sides, each an image and a label; the answer is a side or a tie."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from feedback_store.errors import FeedbackError
from feedback_store.records import NO_ANSWER, SIDES, Comparison
from feedback_store.schemas.base import LabelCount, Problem, Row, Schema, Subject, schemas_of

if TYPE_CHECKING:
    from feedback_store.exchange.common import Names

OTHER_ANSWERS = ("tie", *NO_ANSWER)  # answers that Label Studio's Pairwise cannot give


class PairSchema(Schema):
    """What both kinds of comparison share.

    Attributes:
        varies: `label` or `image`: what differs between the two sides.
        prompt: the question in TRL's format, with one placeholder for what both sides share.
        prefix: what the ids of its items begin with, if they are not images: such rows are this kind's alone.
    """

    table = "pairwise"
    answer_column = "choice"
    varies: ClassVar[str]
    prompt: ClassVar[str]
    prefix: ClassVar[str] = ""

    def record(self, subject: Subject, answer: str, *, shown_first: str = "a", **common: Any) -> Comparison:
        return Comparison(
            image_a=subject.images[0],
            label_a=subject.labels[0],
            image_b=subject.images[-1],
            label_b=subject.labels[-1],
            choice=answer,
            shown_first=shown_first,
            **common,
        )

    def sides(self, subject: Subject) -> list[tuple[str, str]]:
        return [(subject.images[0], subject.labels[0]), (subject.images[-1], subject.labels[-1])]

    def key_parts(self, subject: Subject) -> list[str]:
        # Both kinds write `comparison`: keys of questions are older than the distinction.
        return [ComparisonSchema.name, *super().key_parts(subject)[1:]]

    def label_problems(self, frame: pd.DataFrame, classes: Collection[str]) -> Iterator[Problem]:
        for column in ("label_a", "label_b"):
            yield Problem(column, frame[column].isin(classes), "")

    def answers(self, frame: pd.DataFrame, gold: Mapping[str, str]) -> pd.DataFrame:
        a, b = frame["image_a"] + "\x1f" + frame["label_a"], frame["image_b"] + "\x1f" + frame["label_b"]
        a_first = a <= b
        side = np.where(frame["choice"] == "a", a_first, ~a_first)
        decided = frame["choice"].isin(SIDES)
        fits_a = frame["image_a"].map(gold) == frame["label_a"]
        fits_b = frame["image_b"].map(gold) == frame["label_b"]
        known = frame["image_a"].isin(gold) & frame["image_b"].isin(gold) & (fits_a != fits_b)
        correct = np.where(frame["choice"] == "a", fits_a, np.where(frame["choice"] == "b", fits_b, False))
        return pd.DataFrame(
            {
                "item": np.where(a_first, a + "\x1e" + b, b + "\x1e" + a),
                "value": np.where(frame["choice"] == "tie", "tie", np.where(side, "first", "second")),
                "correct": pd.Series(correct, index=frame.index, dtype=float).where(known),
                "first": (frame["choice"] == frame["shown_first"]).astype(float).where(decided),
            },
            index=frame.index,
        )

    def answer_counts(self, frame: pd.DataFrame) -> dict[str, int]:
        """By the position of the chosen side on the screen, since which side is called a or b is random."""
        decided = frame["choice"].isin(SIDES)
        first = frame["choice"] == frame["shown_first"]
        counted = frame["choice"].mask(decided & first, "the side shown first").mask(decided & ~first, "the other side")
        return {str(answer): int(count) for answer, count in counted.value_counts().items()}

    def label_studio_keys(self) -> set[str]:
        """Keys of `data` in tasks that this project exported."""
        shared = "image" if self.varies == "label" else "label"
        return {shared, f"{self.varies}_a", f"{self.varies}_b"}

    def label_studio_config(self, answers: Sequence[str]) -> str:
        shared = "image" if self.varies == "label" else "label"
        sides = (f"{self.varies}_a", f"{self.varies}_b")
        tag = {"label": "Text", "image": "Image"}
        lines = [(shared, tag[shared]), *((side, tag[self.varies]) for side in sides)]
        objects = "".join(f'  <{kind} name="{name}" value="${name}"/>\n' for name, kind in lines)
        choices = "".join(f'<Choice value="{answer}"/>' for answer in OTHER_ANSWERS)
        return (
            f'<View>\n  <Header value="{self.asks[0].upper()}{self.asks[1:]}?"/>\n{objects}'
            f'  <Pairwise name="better" toName="{",".join(sides)}"/>\n'
            f'  <Choices name="otherwise" toName="{shared}" choice="single">\n    {choices}\n  </Choices>\n</View>\n'
        )

    def label_studio_data(self, row: Row, files: Mapping[str, str]) -> dict[str, str]:
        images = [files.get(row[name], row[name]) for name in ("image_a", "image_b")]
        if self.varies == "label":
            return {"image": images[0], "label_a": row["label_a"], "label_b": row["label_b"]}
        self._check_shared(row, "task")
        return {"image_a": images[0], "image_b": images[1], "label": row["label_a"]}

    def label_studio_result(self, row: Row) -> dict[str, Any]:
        if row["choice"] in SIDES:
            selected = {"selected": "left" if row["choice"] == "a" else "right"}
            # Label Studio writes the control's own name here, which its SDK's validator refuses; it reads both.
            return {"from_name": "better", "to_name": f"{self.varies}_a", "type": "pairwise", "value": selected}
        shared = "image" if self.varies == "label" else "label"
        return {"from_name": "otherwise", "to_name": shared, "type": "choices", "value": {"choices": [row["choice"]]}}

    def trl_record(self, row: Row) -> dict[str, str]:
        """prompt, chosen and rejected of a comparison without a tie, and which side was chosen.

        Raises:
            FeedbackError: the sides differ in both image and label, which one prompt cannot express.
        """
        self._check_shared(row, "prompt")
        shared = "image_a" if self.varies == "label" else "label_a"
        won, lost = SIDES if row["choice"] == "a" else SIDES[::-1]
        return {
            "prompt": self.prompt.format(row[shared]),
            "chosen": row[f"{self.varies}_{won}"],
            "rejected": row[f"{self.varies}_{lost}"],
            "chosen_side": won,
        }

    def read_prompt(self, prompt: str) -> str | None:
        """What both sides share, from an exported prompt; None for other prompts."""
        before, after = self.prompt.split("{}")
        matches = prompt.startswith(before) and prompt.endswith(after) and len(prompt) > len(before) + len(after)
        return prompt[len(before) : len(prompt) - len(after)] if matches else None

    def read_side(self, shared: str, side: str, names: Names) -> tuple[str, str]:
        """Image id and label of one side: `chosen` or `rejected` of a record with an exported prompt.

        Raises:
            FeedbackError: unknown image or class.
        """
        image, label = (shared, side) if self.varies == "label" else (side, shared)
        return names.image(image), names.label(label)

    def _check_shared(self, row: Row, what: str) -> None:
        if row["image_a"] != row["image_b"] and row["label_a"] != row["label_b"]:
            raise FeedbackError(
                f"judgment {row['id']} compares two images under two labels, which one {what} cannot express"
            )


class ComparisonSchema(PairSchema):
    """Which of two labels fits an image better?"""

    name = "comparison"
    asks = "which of two labels fits the image better"
    varies = "label"
    prompt = "Which label fits the image {}?"

    def select(self, frame: pd.DataFrame) -> pd.Series:
        return frame["image_a"] == frame["image_b"]

    def owns(self, row: Row) -> bool:
        return row["image_a"] == row["image_b"]

    def subject(self, row: Row) -> Subject:
        return Subject((row["image_a"],), (row["label_a"], row["label_b"]))

    def label_counts(self, frame: pd.DataFrame) -> list[LabelCount]:
        chosen = frame["label_a"].where(frame["choice"] == "a", frame["label_b"])
        return [
            LabelCount("compared", "In comparisons of labels", pd.concat([frame["label_a"], frame["label_b"]])),
            LabelCount("preferred", "Preferred", chosen[frame["choice"].isin(SIDES)]),
        ]


class ImageComparisonSchema(PairSchema):
    """Which of two images is the better example of a label?"""

    name = "image_comparison"
    asks = "which of two images is the better example of a label"
    varies = "image"
    prompt = "Which image is the better example of {}?"

    def select(self, frame: pd.DataFrame) -> pd.Series:
        other_items = frame["image_a"].str.startswith(_other_prefixes())
        return (frame["image_a"] != frame["image_b"]) & ~other_items

    def owns(self, row: Row) -> bool:
        return row["image_a"] != row["image_b"] and not row["image_a"].startswith(_other_prefixes())

    def subject(self, row: Row) -> Subject:
        labels = (row["label_a"],) if row["label_a"] == row["label_b"] else (row["label_a"], row["label_b"])
        return Subject((row["image_a"], row["image_b"]), labels)


def _other_prefixes() -> tuple[str, ...]:
    """What ids of items other than images begin with."""
    return tuple(s.prefix for s in schemas_of("pairwise") if isinstance(s, PairSchema) and s.prefix)


COMPARISON, IMAGE_COMPARISON = ComparisonSchema(), ImageComparisonSchema()
