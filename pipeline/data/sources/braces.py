"""Ranges in names of files, as WebDataset writes them: train-{000000..000099}.tar, {train,val}.tar."""

from __future__ import annotations

import re

from pipeline.errors import UserError

MAX_NAMES = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand_braces(text: str) -> list[str]:
    """All names that a text with ranges or lists in braces stands for, the first braces changing slowest.

    Raises:
        UserError: a range ends before it starts, or there are more than MAX_NAMES names.
    """
    names = [""]
    rest = text
    while match := _BRACES.search(rest):
        parts = _parts(match[1], text)
        if len(names) * len(parts) > MAX_NAMES:
            raise UserError(f"images.root: {text} stands for more than {MAX_NAMES} files; name a smaller range")
        names = [f"{name}{rest[: match.start()]}{part}" for name in names for part in parts]
        rest = rest[match.end() :]
    return [name + rest for name in names]


def _parts(inside: str, text: str) -> list[str]:
    if not (bounds := _RANGE.fullmatch(inside)):
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(bounds[1]), int(bounds[2])
    if last < first:
        raise UserError(
            f"images.root: the range {{{inside}}} in {text} ends before it starts; write {{{last}..{first}}}"
        )
    if last - first >= MAX_NAMES:
        raise UserError(f"images.root: {text} stands for more than {MAX_NAMES} files; name a smaller range")
    width = len(bounds[1]) if bounds[1].startswith("0") else 0
    return [f"{number:0{width}}" for number in range(first, last + 1)]
