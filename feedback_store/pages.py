"""Pages: one answer about several images, stored as one row per image.

The id of such a row is `<answer>:<page>:<place>`: the answer's id, the key of the page, and the place of the image on it.
So the columns are those of every other row, an answer that is sent twice has the same ids, and nothing else has to be
kept to know which rows belong together.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

MAX_TILES = 60  # images of a page; a place has two digits
_ROW_ID = re.compile(r"([A-Za-z0-9_-]{8,64}):([0-9a-f]{24}):([0-9]{2})")


class PageRow(NamedTuple):
    """The parts of a row's id.

    Attributes:
        answer: id of the answer.
        page: key of the page; the same for everybody who is shown it.
        place: of the image on the page, from 0.
    """

    answer: str
    page: str
    place: int


def row_id(answer: str, page: str, place: int) -> str:
    """The id of one row of an answer to a page."""
    return f"{answer}:{page}:{place:02d}"


def page_row(row: str) -> PageRow | None:
    """The parts of a row's id; None if the row is an answer of its own."""
    found = _ROW_ID.fullmatch(row)
    return PageRow(found[1], found[2], int(found[3])) if found else None


def answer_id(row: str) -> str:
    """The id of the answer that a row belongs to; that of the row, if it is an answer of its own."""
    found = page_row(row)
    return found.answer if found else row


def page_answer(label: str, marked: Collection[int]) -> str:
    """An answer to a page as one text, e.g. `3,7:bee`: the places of the exceptions, and the page's class."""
    return f"{','.join(map(str, sorted(marked)))}:{label}"


def read_page_answer(text: str) -> tuple[str, list[int]]:
    """Class and places of the exceptions.

    Raises:
        ValueError: not of the form that `page_answer` writes.
    """
    places, colon, label = text.partition(":")
    numbers = [place for place in places.split(",") if place.isdecimal()]
    marked = [int(place) for place in numbers]
    if not colon or page_answer(label, set(marked)) != text:
        raise ValueError(f"{text!r} is not places of exceptions, a colon, and a class")
    return label, marked
