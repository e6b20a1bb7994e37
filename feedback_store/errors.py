"""What can be wrong with stored judgments."""

from __future__ import annotations

SHOWN = 80  # characters of a bad value that a message repeats


class FeedbackError(Exception):
    """A file, line or answer that cannot be accepted, with the reason and what to do; nothing stored was changed."""


class ChangedError(FeedbackError):
    """A stored file is not what was stored, or cannot be read: nothing is appended to it until it is repaired or accepted."""


class FeedbackWarning(UserWarning):
    """Something was set aside, or is gone; everything else is there and can be used."""


def shown(value: object) -> str:
    """A value from outside as a message repeats it: on one line, short, and printable whatever it is."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits; a list nested too deeply
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
