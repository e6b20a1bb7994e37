"""What the values of a label column mean: the first text is better (a), the second (b), or neither (tie)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from feedback_store.errors import FeedbackError, shown

SIDE_NAMES = {
    "a": ("a", "first", "left", "1"),
    "b": ("b", "second", "right", "2"),
    "tie": ("tie", "equal", "same", "draw"),
}
# Of this project's own files: an answer without a choice.
UNANSWERED = ("cant_tell", "bad_image")


@dataclass(frozen=True)
class Choices:
    """How values are read.

    Attributes:
        meaning: of each value, in lower case.
        note: how a column of 0 and 1 is read, for the user; empty for other columns.
    """

    meaning: Mapping[str, str]
    note: str = ""

    def read(self, value: str) -> str:
        """a, b, tie, or an answer without a choice.

        Raises:
            FeedbackError: the value has no meaning.
        """
        key = normalised(value)
        if not key:
            raise FeedbackError("the label is empty")
        if key in UNANSWERED:
            return key
        if key not in self.meaning:
            raise FeedbackError(
                f"unknown label {shown(value)}; it must be one of {', '.join(self.meaning)}, or say what it means with items.choices"
            )
        return self.meaning[key]


def normalised(value: str) -> str:
    """A label in lower case without spaces around it; 1.0 is 1, as spreadsheets and pandas write it."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", value.strip().casefold())


def choices_of(values: Iterable[str], columns: Mapping[str, str], given: Mapping[str, str] | None = None) -> Choices:
    """How a column's values are read.

    Args:
        values: of the column, all of them.
        columns: name of the column of each side, a and b.
        given: the user's own meanings; then no other value is accepted.
    """
    if given is not None:
        return Choices({normalised(value): side for value, side in given.items()})
    meaning = {name: side for side, names in SIDE_NAMES.items() for name in names}
    meaning |= {normalised(name): side for side, name in columns.items()}
    found = {normalised(value) for value in values} - {""}
    if "0" in found and "2" not in found:
        meaning = {name: side for name, side in meaning.items() if name != "2"} | {"1": "a", "0": "b"}
        note = "labels: 1 means the first text is better, 0 the second; items.choices: {'1': b, '0': a} reads them the other way round"
        return Choices(meaning, note)
    return Choices(meaning)
