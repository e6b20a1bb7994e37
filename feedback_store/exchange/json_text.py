"""Parse untrusted JSON: any text gives a value or a FeedbackError.

Numbers beyond the range of a float become Infinity, which is refused where the field is used.
"""

from __future__ import annotations

import json
from typing import Any

from feedback_store.errors import FeedbackError

MAX_DEPTH = 50  # levels of lists and objects; Label Studio's exports have eight
MAX_INT_DIGITS = 300  # the longest whole numbers that a float holds; Python refuses to read 4,301 digits
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"

_DECODER = json.JSONDecoder(parse_int=lambda text: int(text) if len(text) <= MAX_INT_DIGITS else float(text))


def value_at(text: str, position: int) -> tuple[Any, int]:
    """The value that starts at a position, and the position of its end.

    Raises:
        FeedbackError: not JSON, or nested too deeply; the message is the reason without a location.
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
    """The value of a text that holds one value.

    Raises:
        FeedbackError: not JSON, more than one value, or nested too deeply; the message is the reason without a location.
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
