"""Judgments as frozen records: comparisons of two sides, and answers to a question about one image (METHOD 1)."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from numbers import Integral

from feedback_store import limits
from feedback_store.errors import FeedbackError, shown

COMPARISON_CHOICES = ("a", "b", "tie", "cant_tell", "bad_image")
NO_ANSWER = ("cant_tell", "bad_image")  # stored, but not counted as answers
VERDICTS = ("yes", "no")
SIDES = ("a", "b")
_REFUSED = re.compile(f"{limits.CONTROL}|{limits.SURROGATE}")


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_text(name: str, value: object, *, may_be_empty: bool = False) -> None:
    if not isinstance(value, str):
        raise FeedbackError(f"{name} is {shown(value)}; it must be text")
    if not value and not may_be_empty:
        raise FeedbackError(f"{name} is empty")
    if len(value) > limits.MAX_CHARACTERS:
        raise FeedbackError(f"{name} has {len(value)} characters; at most {limits.MAX_CHARACTERS} can be stored")
    if _REFUSED.search(value):
        raise FeedbackError(f"{name} holds a control character, a line break or an unpaired surrogate: {shown(value)}")


def _check_number(name: str, value: object) -> None:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not 0 <= int(value) <= limits.MAX_NUMBER:  # type: ignore[call-overload]
        raise FeedbackError(f"{name} is {shown(value)}; {limits.WHOLE_NUMBER}")


def _check_time(value: str) -> None:
    try:
        if not re.fullmatch(limits.TIME, value):
            raise ValueError
        datetime.fromisoformat(value)
    except ValueError:
        raise FeedbackError(f"created_at is {shown(value)}; {limits.UTC_TIME}") from None


def _check_among(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise FeedbackError(f"{name} is {shown(value)}; it must be one of {', '.join(choices)}")


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """Fields of every judgment.

    Attributes:
        id: unique; chosen by the sender, so that a judgment that is sent twice is stored once.
        created_at: UTC, ISO 8601.
        annotator: who judged.
        round: number of the round of questions, from 0; set by imports.
        response_ms: milliseconds from showing the question to the answer; None if not measured.
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
        _check_number("round", self.round)
        if self.response_ms is not None:
            _check_number("response_ms", self.response_ms)


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
        for name in ("image_a", "label_a", "image_b", "label_b", "choice", "shown_first"):
            _check_text(name, getattr(self, name))
        _check_among("choice", self.choice, COMPARISON_CHOICES)
        _check_among("shown_first", self.shown_first, SIDES)


@dataclass(frozen=True, kw_only=True)
class PerImage(Judgment):
    """A judgment of one image; `question` is its kind, `label` the label asked about, empty for a label choice."""

    image: str
    question: str
    label: str = ""
    answer: str

    def __post_init__(self) -> None:
        from feedback_store.schemas import per_image_names, schemas  # a circular import at the top

        super().__post_init__()
        for name in ("question", "image", "answer"):
            _check_text(name, getattr(self, name))
        _check_among("question", self.question, per_image_names())
        _check_text("label", self.label, may_be_empty=True)
        schemas.get(self.question).check(self)


def label_choice(image: str, answer: str, **common: object) -> PerImage:
    """Which class is the image?"""
    return PerImage(image=image, question="label", answer=answer, **common)  # type: ignore[arg-type]


def verdict(image: str, label: str, answer: str, **common: object) -> PerImage:
    """Is this label right for the image: yes or no?"""
    return PerImage(image=image, question="verdict", label=label, answer=answer, **common)  # type: ignore[arg-type]


def rating(image: str, label: str, answer: int, **common: object) -> PerImage:
    """How well does this label fit the image, 1 to K?"""
    return PerImage(image=image, question="rating", label=label, answer=str(answer), **common)  # type: ignore[arg-type]
