"""JSON from outside: numbers of any length, any nesting and any text end in a value or in a FeedbackError.

Numbers that no float holds become Infinity, which whoever uses the field refuses; a field nobody uses harms nobody.
"""

from __future__ import annotations

import json
from typing import Any

from feedback_store.errors import FeedbackError

MAX_DEPTH = 50  # lists and objects within each other; Label Studio's exports have eight
MAX_INT_DIGITS = 300  # the longest whole numbers that a float holds; Python refuses to read 4,301 digits
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"

_DECODER = json.JSONDecoder(parse_int=lambda text: int(text) if len(text) <= MAX_INT_DIGITS else float(text))


def value_at(text: str, position: int) -> tuple[Any, int]:
    """The value that starts there, and where it ends.

    Raises:
        FeedbackError: not JSON, or nested too deeply; the reason alone.
    """
    try:
        value, end = _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise FeedbackError(f"not JSON: {error.msg}") from error
    except RecursionError:
        raise FeedbackError(TOO_DEEP) from None
    if _is_deep(value):
        raise FeedbackError(TOO_DEEP)
    return value, end


def value_of(text: str) -> Any:
    """The one value that the text is.

    Raises:
        FeedbackError: not JSON, more than one value, or nested too deeply; the reason alone.
    """
    value, end = value_at(text, len(text) - len(text.lstrip()))
    if text[end:].strip():
        raise FeedbackError("not JSON: more text after the value")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level if isinstance(one, dict | list) for inner in _inside(one)]
        if not level:
            return False
    return True


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value
