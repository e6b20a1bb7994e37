"""The four kinds of judgment, as frozen records: each a likelihood under one utility r(x, a) (METHOD 1)."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from feedback_store.errors import FeedbackError

COMPARISON_CHOICES = ("a", "b", "tie", "cant_tell", "bad_image")
NO_ANSWER = ("cant_tell", "bad_image")  # kept, because somebody said so, but never counted as an answer
QUESTIONS = ("label", "verdict", "rating")
VERDICTS = ("yes", "no")
CONTROL = r"[\x00-\x1f\x7f-\x{9f}\x{2028}\x{2029}]"  # as RE2, which pyarrow matches with, writes it
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)"
RATING = r"[1-9]\d?"


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_text(name: str, value: str, *, may_be_empty: bool = False) -> None:
    if not value and not may_be_empty:
        raise FeedbackError(f"{name} is empty")
    if _CONTROL.search(value):
        raise FeedbackError(f"{name} holds a control character or line break: {value!r}")


def _check_time(value: str) -> None:
    try:
        if not re.fullmatch(TIME, value):
            raise ValueError
        datetime.fromisoformat(value)
    except ValueError:
        raise FeedbackError(f"created_at is {value!r}; it must be UTC as 2026-01-31T12:00:00.000Z") from None


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """What every judgment has.

    Attributes:
        id: made by whoever sends it, so that sending it twice stores it once.
        created_at: UTC, ISO 8601.
        annotator: who judged.
        round: 0 for the first round of questions, counted up as the reward model is asked what to ask next.
        response_ms: from the question's appearance to the answer, in milliseconds; None if not measured.
        source: web, tk, simulated, replay, import, ...
        retracts: id of the judgment this row takes back, or empty.
    """

    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created_at: str = field(default_factory=now)
    annotator: str
    round: int = 0
    response_ms: int | None = None
    source: str
    retracts: str = ""

    def __post_init__(self) -> None:
        for name in ("id", "created_at", "annotator", "source"):
            _check_text(name, getattr(self, name))
        _check_text("retracts", self.retracts, may_be_empty=True)
        _check_time(self.created_at)
        if self.round < 0 or (self.response_ms is not None and self.response_ms < 0):
            raise FeedbackError("round and response_ms cannot be negative")


@dataclass(frozen=True, kw_only=True)
class Comparison(Judgment):
    """Which of (image_a, label_a) and (image_b, label_b) is better? Usually one image and two labels."""

    image_a: str
    label_a: str
    image_b: str
    label_b: str
    choice: str
    shown_first: str = "a"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image_a", "label_a", "image_b", "label_b"):
            _check_text(name, getattr(self, name))
        if self.choice not in COMPARISON_CHOICES:
            raise FeedbackError(f"choice is {self.choice!r}; it must be one of {', '.join(COMPARISON_CHOICES)}")
        if self.shown_first not in ("a", "b"):
            raise FeedbackError(f"shown_first is {self.shown_first!r}; it must be a or b")


@dataclass(frozen=True, kw_only=True)
class PerImage(Judgment):
    """A judgment of one image; `label` is the one asked about, empty where the question names none."""

    image: str
    question: str
    label: str = ""
    answer: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.question not in QUESTIONS:
            raise FeedbackError(f"question is {self.question!r}; it must be one of {', '.join(QUESTIONS)}")
        _check_text("image", self.image)
        _check_text("answer", self.answer)
        _check_text("label", self.label, may_be_empty=self.question == "label")
        if self.answer in NO_ANSWER:
            return
        if self.question == "verdict" and self.answer not in VERDICTS:
            raise FeedbackError(f"answer is {self.answer!r}; it must be one of {', '.join((*VERDICTS, *NO_ANSWER))}")
        if self.question == "rating" and not re.fullmatch(RATING, self.answer):
            raise FeedbackError(f"answer is {self.answer!r}; a rating is a whole number from 1 to 99")


def label_choice(image: str, answer: str, **common: object) -> PerImage:
    """Which class is the image?"""
    return PerImage(image=image, question="label", answer=answer, **common)  # type: ignore[arg-type]


def verdict(image: str, label: str, answer: str, **common: object) -> PerImage:
    """Is this label right for the image: yes or no?"""
    return PerImage(image=image, question="verdict", label=label, answer=answer, **common)  # type: ignore[arg-type]


def rating(image: str, label: str, answer: int, **common: object) -> PerImage:
    """How well does this label fit the image, 1 to K?"""
    return PerImage(image=image, question="rating", label=label, answer=str(answer), **common)  # type: ignore[arg-type]
