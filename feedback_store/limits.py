"""What a stored cell may hold: the one source of the rules that every writer (`judgments`) and every reader (`checks`) applies.

The patterns are written so that Python's `re` and RE2, which pyarrow matches whole columns with, read them alike.
"""

from __future__ import annotations

MAX_CHARACTERS = 10_000  # of a cell; far below the 131,072 at which Python's csv module gives up
MAX_DIGITS = 15  # of a whole number, so that every reader (JSON, spreadsheets, float64) gets it exactly
MAX_NUMBER = 10**MAX_DIGITS - 1
NUMBER = f"[0-9]{{1,{MAX_DIGITS}}}"
CONTROL = (
    "[\\x00-\\x1f\\x7f-\u009f\u2028\u2029]"  # control characters and everything that some reader takes for a line end
)
SURROGATE = "[\ud800-\udfff]"  # half a character: JSON may hold one, UTF-8 cannot
# Years are bounded so that every pandas can hold the time in nanoseconds.
TIME = (
    r"(?:1[789]|2[01])[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|\+00:00)"
)
RATING = "[1-9][0-9]?"

WHOLE_NUMBER = f"it must be a whole number from 0 to {MAX_NUMBER}"
UTC_TIME = "it must be UTC as 2026-01-31T12:00:00.000Z, in the years 1700 to 2199"
A_RATING = "a rating is a whole number from 1 to 99"
