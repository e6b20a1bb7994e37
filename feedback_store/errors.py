"""Errors and warnings about stored judgments."""

from __future__ import annotations

MAX_SHOWN = 80  # characters of an invalid value that a message repeats


class FeedbackError(Exception):
    """An invalid file, line or answer; the message has the reason and what to do. Nothing stored was changed."""


class UnreadableError(FeedbackError):
    """What is stored cannot be read now; answers have to wait."""


class UnreachableError(UnreadableError):
    """A database cannot be reached; what was sent may or may not be stored, so send it again."""


class ChangedError(UnreadableError):
    """A stored file was changed or removed by another program; nothing is appended until it is restored or accepted."""


class FeedbackWarning(UserWarning):
    """Some data was set aside or is missing; all other data is complete."""


def shown(value: object) -> str:
    """A value from outside for a message: on one line, shortened and printable."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an int of thousands of digits; a list nested too deeply
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"
