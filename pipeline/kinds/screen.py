"""What a question looks like, described once for the page and the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Choice:
    """An answer that a button or a key gives.

    Attributes:
        answer: what is stored.
        text: on the button.
        action: name of the setting in `collect.keys` whose keys give this answer; empty for none.
        number: digits that give this answer when they are typed; None for none.
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
        image_choices: where the images themselves are buttons, the answer that each stands for.
    """

    text: str
    images: tuple[str, ...]
    choices: tuple[Choice, ...]
    image_choices: tuple[Choice, ...] = ()

    def all_choices(self) -> tuple[Choice, ...]:
        """Every answer the question has."""
        return self.image_choices + self.choices


class KeyHelp(NamedTuple):
    """A line of the explanation of keys; `…` between two keys stands for all between them."""

    keys: tuple[str, ...]
    meaning: str


@dataclass(frozen=True)
class ScreenSettings:
    """What the choices of a question depend on besides the question.

    Attributes:
        classes: names of all classes.
        levels: number of rating levels.
    """

    classes: tuple[str, ...]
    levels: int
