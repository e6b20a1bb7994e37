"""A question as it is shown, for the page and the window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Choice:
    """An answer with its button and keys.

    Attributes:
        answer: what is stored.
        text: on the button.
        action: setting in `collect.keys` with the keys of this answer; empty for none.
        number: typing its digits gives this answer; None for none.
        secondary: shown with less weight, e.g. a tie.
    """

    answer: str
    text: str
    action: str = ""
    number: int | None = None
    secondary: bool = False


@dataclass(frozen=True)
class Screen:
    """One question on the screen.

    Attributes:
        text: the question.
        images: ids of the images, in the order shown.
        choices: buttons below the images.
        image_choices: if the images are buttons, the answer of each.
        details: what the kind's own script needs of this question, as JSON.
    """

    text: str
    images: tuple[str, ...]
    choices: tuple[Choice, ...]
    image_choices: tuple[Choice, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def all_choices(self) -> tuple[Choice, ...]:
        """All choices of the question."""
        return self.image_choices + self.choices


class KeyHelp(NamedTuple):
    """One line of the help; `…` between two keys means a range."""

    keys: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class ScreenSettings:
    """Settings that the choices of a question depend on.

    Attributes:
        classes: names of all classes.
        levels: number of rating levels.
    """

    classes: tuple[str, ...]
    levels: int
